"""Commands from bytes: what is understood, and what is refused with which words."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.entrypoints.agent_protocol.codec import Bad, decode_command, encode, params_of, sse
from unbroken.entrypoints.agent_protocol.filters import wants
from unbroken.entrypoints.agent_protocol.wire import (
    NOT_SUPPORTED,
    PARAMS,
    ErrorCode,
    Event,
    EventParams,
    EventStreamRequest,
    Failure,
    Filter,
    InputRespond,
    Response,
    RunStartParams,
    Success,
)


def command(method: str, params: Any = None, **fields: Any) -> str:
    return json.dumps({"id": 7, "method": method, "params": params or {}} | fields)


def understood(frame: str | bytes) -> Any:
    return params_of(decode_command(frame))


def refused(frame: str | bytes) -> Bad:
    with pytest.raises(Bad) as caught:
        understood(frame)
    return caught.value


def test_a_run_is_started_under_both_spellings_of_its_strategy() -> None:
    given = {"assistant_id": "a", "input": {"x": 1}, "config": {"tags": ["t"]}, "of_the_future": True}
    new = understood(command("run.start", given | {"multitask_strategy": "reject"}))
    assert new == RunStartParams("a", {"x": 1}, {"tags": ["t"]}, multitask_strategy="reject")
    assert understood(command("run.start", given | {"multitaskStrategy": "reject"})).multitaskStrategy == "reject"


def test_one_answer_and_several_are_read() -> None:
    one = {"namespace": ["a"], "interrupt_id": "q", "response": None}
    assert understood(command("input.respond", one)) == InputRespond("q", None, ["a"])
    several = {"responses": [one], "update": {"x": 1}, "goto": "node"}
    read = understood(command("input.respond", several))
    assert (read.responses, read.update, read.goto) == ([Response("q", None, ["a"])], {"x": 1}, "node")


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        ("", ErrorCode.INVALID_ARGUMENT, "one JSON object"),
        ("[]", ErrorCode.INVALID_ARGUMENT, "integer id"),
        ('{"id": true, "method": "run.start"}', ErrorCode.INVALID_ARGUMENT, "integer id"),
        ('{"id": -1, "method": "run.start"}', ErrorCode.INVALID_ARGUMENT, "from 0"),
        (b'{"id": 1, "method": "\xff"}', ErrorCode.INVALID_ARGUMENT, "one JSON object"),
        (command("run.jump"), ErrorCode.UNKNOWN_COMMAND, "'run.jump'"),
        (command("input.inject"), ErrorCode.NOT_SUPPORTED, "input.inject"),
        (command("run.start"), ErrorCode.INVALID_ARGUMENT, "assistant_id"),
        (command("run.start", {"assistant_id": "a", "input": "a\u0000"}), ErrorCode.INVALID_ARGUMENT, "U+0000"),
        (command("subscription.subscribe", {"channels": []}), ErrorCode.INVALID_ARGUMENT, "channels"),
        (command("subscription.subscribe", {"channels": ["debug"]}), ErrorCode.INVALID_ARGUMENT, "'debug'"),
        (command("subscription.subscribe", {"channels": ["custom:"]}), ErrorCode.INVALID_ARGUMENT, "'custom:'"),
        (command("subscription.subscribe", {"channels": ["values"], "depth": -1}), ErrorCode.INVALID_ARGUMENT, "depth"),
        (command("subscription.subscribe", {"channels": ["values"], "since": -1}), ErrorCode.INVALID_ARGUMENT, "since"),
        (
            command("subscription.subscribe", {"channels": ["values"], "namespaces": [["a"]] * 257}),
            ErrorCode.INVALID_ARGUMENT,
            "at most 256",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(frame: str | bytes, code: ErrorCode, words: str) -> None:
    bad = refused(frame)
    assert bad.code == code
    assert words in str(bad)


def test_deep_nesting_is_refused_without_a_deep_stack() -> None:
    deep = '{"id": 1, "method": "run.start", "params": {"assistant_id": "a", "input": %s}}'
    for depth in (70, 100_000):
        assert refused(deep % ("[" * depth + "]" * depth)).code == ErrorCode.INVALID_ARGUMENT
    assert understood(deep % ("[" * 50 + "]" * 50)).assistant_id == "a"


def test_a_refusal_names_the_command_that_it_refuses() -> None:
    assert refused(command("run.start")).as_response().id == 7
    assert refused("{").as_response().id is None


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_whatever_bytes_come_they_are_a_command_or_bad(frame: bytes | str) -> None:
    with suppress(Bad):
        understood(frame)


def event(method: str, data: Any, *namespace: str) -> Event:
    return Event("e", 5, method, EventParams(namespace, 1, data))


@pytest.mark.parametrize(
    ("wanted", "told", "hit"),
    [
        (Filter(["values"]), event("values", {}), True),
        (Filter(["values"]), event("updates", {}), False),
        (Filter(["input"]), event("input.requested", {}), True),
        (Filter(["input"]), event("input.answered", {}), True),
        (Filter(["custom"]), event("custom", {"name": "a", "payload": 1}), True),
        (Filter(["custom:a"]), event("custom", {"name": "a", "payload": 1}), True),
        (Filter(["custom:b"]), event("custom", {"name": "a", "payload": 1}), False),
        (Filter(["custom:a"]), event("custom", {"payload": 1}), False),
        (Filter(["values"], [["a"]]), event("values", {}), False),
        (Filter(["values"], [["a"]]), event("values", {}, "a"), True),
        (Filter(["values"], [["a"]]), event("values", {}, "a:1", "b:2"), True),
        (Filter(["values"], [["a:2"]]), event("values", {}, "a:1"), False),
        (Filter(["values"], [["a"]], 0), event("values", {}, "a:1", "b:2"), False),
        (Filter(["values"], [["a"]], 1), event("values", {}, "a:1", "b:2"), True),
        (Filter(["values"], [[]], 0), event("values", {}, "a:1"), False),
        (Filter(["values"], [], 0), event("values", {}, "a:1"), True),
    ],
)
def test_a_filter_hits(wanted: Filter, told: Event, hit: bool) -> None:
    assert wants(wanted, told) is hit


def test_what_goes_out_is_what_the_protocol_types() -> None:
    told = json.loads(encode(event("values", {"x": 1}, "a")))
    params = {"namespace": ["a"], "timestamp": 1, "data": {"x": 1}}
    assert told == {"type": "event", "event_id": "e", "seq": 5, "method": "values", "params": params}
    assert sse(event("values", {})).startswith(b"event: values\nid: 5\ndata: {")
    assert json.loads(encode(Success(7, {}))) == {"type": "success", "id": 7, "result": {}}
    failure = json.loads(encode(Failure(None, ErrorCode.NO_SUCH_RUN, "none")))
    assert failure == {"type": "error", "id": None, "error": "no_such_run", "message": "none"}


def test_the_types_are_those_that_the_ecosystem_publishes() -> None:
    """Of the installed `langchain-protocol`: its commands, its error codes, its filter."""
    from langchain_protocol import protocol

    methods = [
        re.search(r"Literal\[['\"]([\w.]+)['\"]\]", str(kind.__annotations__["method"]))
        for kind in vars(protocol).values()
        if isinstance(kind, type) and {"method", "params"} <= set(getattr(kind, "__annotations__", {}))
    ]
    published = {found[1] for found in methods if found and "." in found[1]} - {"input.requested"}
    assert published == (set(PARAMS) - {"run.cancel"}) | NOT_SUPPORTED
    assert set(EventStreamRequest.__struct_fields__) == set(protocol.EventStreamRequest.__annotations__)
    assert {str(code) for code in ErrorCode} == set(str(protocol.ErrorCode).replace("'", "|").split("|")[1::2])
