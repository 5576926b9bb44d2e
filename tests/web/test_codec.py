from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from unbroken.entrypoints.web.codec import BadFrame, Limits, decode, encode
from unbroken.entrypoints.web.frames import (
    SERVER_FRAMES,
    AckFrame,
    CancelFrame,
    CloseCode,
    ErrorCode,
    ErrorFrame,
    FinalFrame,
    MessageFrame,
    QuestionFrame,
    ResetFrame,
    RespondFrame,
    TokenFrame,
    ToolFrame,
    UserFrame,
)

NESTED = "[" * 100_000 + "]" * 100_000


def message(**fields: Any) -> str:
    return json.dumps({"type": "message", "requestId": "r", "content": "hi", **fields})


def blocks(*content: Any) -> str:
    return message(content=list(content))


def respond(value: str) -> str:
    return '{"type":"respond","requestId":"r","interruptId":"i","value":' + value + "}"


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        (message(), MessageFrame("r", "hi")),
        (message(threadId="t"), MessageFrame("r", "hi", "t")),
        (message(content="Grüße 👋"), MessageFrame("r", "Grüße 👋")),
        (blocks({"type": "text", "text": "hi"}), MessageFrame("r", [{"type": "text", "text": "hi"}])),
        (blocks({"type": "image", "url": "x"}), MessageFrame("r", [{"type": "image", "url": "x"}])),
        (respond("null"), RespondFrame("r", "i", None)),
        (respond("9" * 30), RespondFrame("r", "i", 10**30 - 1)),
        (respond('{"yes":true}'), RespondFrame("r", "i", {"yes": True})),
        ('{"type":"cancel","requestId":"a:b.c-d_9"}', CancelFrame("a:b.c-d_9")),
        ('{"cursor":0,"type":"ack"}', AckFrame(0)),
        (' {"type":"ack","cursor":9007199254740991}\n', AckFrame(2**53 - 1)),
    ],
)
def test_every_client_frame_is_read(text: str, frame: object) -> None:
    assert decode(text) == frame


def test_unknown_fields_are_ignored_whatever_they_hold() -> None:
    assert decode(message(later={"deep": [1, "\x00"]}, cursor="x")) == MessageFrame("r", "hi")


def test_of_a_repeated_key_the_last_one_counts() -> None:
    assert decode('{"type":"ack","cursor":5,"cursor":6}') == AckFrame(6)


@pytest.mark.parametrize(
    ("text", "code", "path", "request_id"),
    [
        ("", "bad_json", None, None),
        ("hello", "bad_json", None, None),
        ('{"type":"ack","cursor":1} {}', "bad_json", None, None),
        ('["type"', "bad_json", None, None),
        ('{"type":"ack","cursor":NaN}', "bad_json", None, None),
        ("\ufeff{}", "bad_json", None, None),
        ("[]", "bad_frame", None, None),
        ("null", "bad_frame", None, None),
        ("7", "bad_frame", None, None),
        (b'{"type":"ack","cursor":1}', "bad_frame", None, None),
        (NESTED, "bad_frame", None, None),
        ('{"type":"ack","cursor":1,"x":' + NESTED + "}", "bad_frame", None, None),
        (respond(NESTED), "bad_frame", None, None),
        (respond("[" * 65 + "]" * 65), "bad_frame", "value", "r"),
        (respond('{"a":"\\u0000"}'), "bad_frame", "value", "r"),
        (respond('{"a\\u0000":1}'), "bad_frame", "value", "r"),
        (respond("1e400"), "bad_frame", "value", "r"),
        (respond("9" * 5_000), "bad_frame", "value", None),
        ('{"type":"respond","requestId":"r","interruptId":"\\u0000","value":1}', "bad_frame", "interruptId", "r"),
        ("{}", "bad_frame", None, None),
        ('{"type":5}', "bad_frame", "type", None),
        ('{"type":"ack","cursor":1,"type":"cancel"}', "bad_frame", "type", None),
        ('{"type":"dance","requestId":"r"}', "unknown_type", "type", "r"),
        ('{"type":"\\ud800"}', "unknown_type", "type", None),
        ('{"type":"ack"}', "bad_frame", None, None),
        ('{"type":"ack","cursor":-1}', "bad_frame", "cursor", None),
        ('{"type":"ack","cursor":1.5}', "bad_frame", "cursor", None),
        ('{"type":"ack","cursor":true}', "bad_frame", "cursor", None),
        ('{"type":"ack","cursor":9007199254740992}', "bad_frame", "cursor", None),
        ('{"type":"cancel","requestId":""}', "bad_frame", "requestId", None),
        (message(requestId="a b"), "bad_frame", "requestId", None),
        (message(requestId="ü"), "bad_frame", "requestId", None),
        (message(requestId="r\n"), "bad_frame", "requestId", None),
        (message(requestId="r" * 129), "bad_frame", "requestId", None),
        (message(requestId=7), "bad_frame", "requestId", None),
        (message(threadId=7), "bad_frame", "threadId", "r"),
        (message(content=None), "bad_frame", "content", "r"),
        (message(content={}), "bad_frame", "content", "r"),
        (message(content=""), "empty", "content", "r"),
        (message(content=" \n\t\u2003"), "empty", "content", "r"),
        (message(content="a\x00b"), "bad_frame", "content", "r"),
        (message(content="\ud83d"), "bad_frame", None, "r"),
        ('{"type":"message","requestId":"r","content":"\ud83d"}', "bad_frame", None, "r"),
        (blocks(), "empty", "content", "r"),
        (blocks({"type": "text", "text": " "}), "empty", "content", "r"),
        (blocks("hi"), "bad_frame", "content[0]", "r"),
        (blocks({"type": "text", "text": "a"}, {"text": "b"}), "bad_frame", "content[1].type", "r"),
        (blocks({"type": 1}), "bad_frame", "content[0].type", "r"),
        (blocks({"type": "text"}), "bad_frame", "content[0].text", "r"),
        (blocks({"type": "text", "text": "a\x00"}), "bad_frame", "content", "r"),
        (message(content="ü" * 131_073), "too_long", "content", "r"),
        (blocks({"type": "text", "text": "x" * 262_144}), "too_long", "content", "r"),
        (respond('"' + "x" * 262_144 + '"'), "too_long", "value", "r"),
    ],
)
def test_bad_input_gets_its_name_and_place(
    text: str | bytes, code: str, path: str | None, request_id: str | None
) -> None:
    with pytest.raises(BadFrame) as refused:
        decode(text)
    bad = refused.value
    assert (bad.code, bad.path, bad.request_id, bad.close) == (code, path, request_id, None)
    error = json.loads(encode(bad.as_frame()))
    assert error.pop("message")
    expected = {"type": "error", "code": code, "retryable": False, "path": path, "requestId": request_id}
    assert error == {key: value for key, value in expected.items() if value is not None}


@pytest.mark.parametrize("letter", ["x", "ü", "界", "👋"])
def test_limits_count_bytes_of_utf8(letter: str) -> None:
    fits = letter * (240 // len(letter.encode()))
    limits = Limits(frame=1_024, content=len(fits.encode()))
    assert decode(message(content=fits), limits) == MessageFrame("r", fits)
    with pytest.raises(BadFrame) as refused:
        decode(message(content=fits + "x"), limits)
    assert (refused.value.code, refused.value.close) == (ErrorCode.TOO_LONG, None)


def test_only_an_oversized_frame_closes_the_socket() -> None:
    frame = json.dumps({"type": "ack", "cursor": 1, "x": "👋" * 300}, ensure_ascii=False)
    assert decode(frame, Limits(frame=len(frame.encode()))) == AckFrame(1)
    with pytest.raises(BadFrame) as refused:
        decode(frame, Limits(frame=len(frame.encode()) - 1))
    assert (refused.value.code, refused.value.close) == (ErrorCode.TOO_LONG, CloseCode.TOO_BIG)


def test_zero_is_something_to_say_and_nothing_is_not() -> None:
    assert encode(TokenFrame("r", "x", attempt=0, offset=0, message_id="m")) == (
        '{"type":"token","requestId":"r","value":"x","attempt":0,"offset":0,"messageId":"m"}'
    )
    assert json.loads(encode(ResetFrame("r", 0, "started")))["attempt"] == 0
    assert "data" not in encode(ToolFrame("r", 0, 0, "c", "search", "started"))
    assert json.loads(encode(ErrorFrame("empty", "no", False))) == {
        "type": "error",
        "code": "empty",
        "message": "no",
        "retryable": False,
    }


def test_null_is_a_value_to_ask_and_to_answer_with() -> None:
    asked = UserFrame("r", 1, datetime(2026, 11, 1, tzinfo=UTC), interrupt_id="i", value=None)
    assert json.loads(encode(asked)) == {
        "type": "user",
        "requestId": "r",
        "seq": 1,
        "createdAt": "2026-11-01T00:00:00Z",
        "interruptId": "i",
        "value": None,
    }
    assert json.loads(encode(QuestionFrame(1, "r", "i", None)))["value"] is None


def test_an_end_carries_its_cursor() -> None:
    final = FinalFrame(3, "r", "hi", [], 1, 12, "user", waiting=False, revised=False)
    assert json.loads(encode(final)) == {
        "type": "final",
        "cursor": 3,
        "requestId": "r",
        "message": "hi",
        "content": [],
        "attempt": 1,
        "latencyMs": 12,
        "origin": "user",
        "waiting": False,
        "revised": False,
    }


def test_client_frames_survive_the_round_trip() -> None:
    for frame in (MessageFrame("r", [{"type": "x"}], "t"), RespondFrame("r", "i", [1]), CancelFrame("r"), AckFrame(1)):
        assert decode(encode(frame)) == frame


def test_no_two_server_frames_share_a_type() -> None:
    tags = [frame.__struct_config__.tag for frame in SERVER_FRAMES]
    assert len(set(tags)) == len(tags) == 15


def test_only_what_may_succeed_later_is_retryable() -> None:
    assert {code for code in ErrorCode if code.retryable} == {"queue_full", "busy", "unavailable", "too_fast"}
    assert all(code.advice for code in ErrorCode)
    assert all(close.advice for close in CloseCode)
