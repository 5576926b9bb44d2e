"""Whatever arrives becomes a frame or a named refusal, and a frame that was taken can be stored and sent."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.entrypoints.web.codec import BadFrame, Limits, decode, encode
from unbroken.entrypoints.web.frames import CLIENT_FRAMES, ClientFrame
from unbroken.entrypoints.web.query import BadQuery, Hello, parse_query

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=40)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
NEARLY_FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "respond", "cancel", "ack", "token"]) | ANY_JSON,
        "requestId": st.sampled_from(["r", "a:b", "", "ä"]) | ANY_JSON,
        "content": st.sampled_from(["hi", "", "\x00"])
        | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": ANY_TEXT}), max_size=3)
        | ANY_JSON,
        "threadId": st.just("t") | ANY_JSON,
        "interruptId": st.just("i") | ANY_JSON,
        "value": ANY_JSON,
        "cursor": st.integers(-1, 9) | ANY_JSON,
    },
)


def outcome_of(frame: str | bytes) -> ClientFrame | BadFrame:
    try:
        return decode(frame, Limits(frame=4_096, content=256))
    except BadFrame as bad:
        return bad


def taken_or_refused(frame: str | bytes) -> None:
    outcome = outcome_of(frame)
    if isinstance(outcome, BadFrame):
        assert json.loads(encode(outcome.as_frame()))["code"] == outcome.code
        return
    taken = outcome
    assert isinstance(taken, CLIENT_FRAMES)
    assert decode(encode(taken), Limits()) == taken
    assert "\\u0000" not in msgspec.json.encode(taken).decode().replace("\\\\", "")


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(frame: bytes) -> None:
    taken_or_refused(frame)
    taken_or_refused(frame.decode("utf-8", "surrogateescape"))


@settings(max_examples=400, deadline=None)
@given(ANY_TEXT)
def test_any_text_is_taken_or_refused(frame: str) -> None:
    taken_or_refused(frame)


@settings(max_examples=600, deadline=None)
@given(NEARLY_FRAMES, st.booleans(), st.integers(0, 3))
def test_near_misses_are_taken_or_refused(frame: dict[str, object], ascii_only: bool, cut: int) -> None:
    text = json.dumps(frame, ensure_ascii=ascii_only)
    taken_or_refused(text[: len(text) - cut])


def hello_of(query: str | bytes) -> Hello | BadQuery:
    try:
        return parse_query(query)
    except BadQuery as bad:
        return bad


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80) | ANY_TEXT)
def test_any_query_is_understood_or_refused_by_name(query: bytes | str) -> None:
    for start in ("", "threadId=t&"):
        understood = hello_of(start + query if isinstance(query, str) else start.encode() + query)
        assert isinstance(understood, Hello) or len(str(understood).encode()) <= 123
