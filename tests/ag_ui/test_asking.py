"""What a front end sends, and the run that is made of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from unbroken.entrypoints.ag_ui.asking import RunAgentInput, asked_of, goes_back_to
from unbroken.entrypoints.langgraph_api.run_bodies import Asked
from unbroken.entrypoints.web.rest import Problem


def asked(*messages: dict[str, Any], state: dict[str, Any] | None = None, **more: Any) -> Asked | None:
    body = {"threadId": "t", "runId": "r", "messages": messages, **more}
    return asked_of(msgspec.convert(body, RunAgentInput), "agent", state=state or {})


USER = {"id": "u", "role": "user", "content": "hello"}
ANSWER = {"id": "a", "role": "assistant", "content": "hi", "toolCalls": [], "metadata": {}}


def test_what_follows_the_agent_s_last_message_is_the_input() -> None:
    found = asked(USER, ANSWER, USER | {"id": "v", "content": "more"}, {"id": "x", "role": "activity", "content": {}})
    assert found is not None
    assert found.input == {"messages": [{"type": "human", "id": "v", "content": "more"}]}
    assert asked(USER, ANSWER) is None, "nothing is new"
    assert asked() is None


def test_a_front_end_s_tool_answers_and_its_state_and_tools_are_told() -> None:
    result = {"id": "r", "role": "tool", "toolCallId": "c", "content": "done", "error": "half"}
    found = asked(USER, ANSWER, result, state={"n": 2}, tools=[{"name": "show"}], context=[], forwardedProps={"a": 1})
    assert found is not None
    answer = {"type": "tool", "id": "r", "tool_call_id": "c", "content": "done", "status": "error"}
    assert found.input == {"n": 2, "messages": [answer]}
    assert found.config == {"configurable": {"ag_ui_tools": [{"name": "show"}], "ag_ui_forwarded_props": {"a": 1}}}


COMMITTED: list[dict[str, Any]] = [USER, ANSWER, {"id": "v", "role": "user"}, {"id": "b", "role": "assistant"}]


@pytest.mark.parametrize(
    ("ids", "more", "before"),
    [
        ("u", {}, []),
        ("uav", {}, ["u", "a"]),
        ("uav", {"resume": [{"interruptId": "q:1", "status": "resolved"}]}, None),
        ("ua", {}, None),
        ("uavb", {}, None),
        ("uavbw", {}, None),
        ("v", {}, None),
        ("uw", {}, None),
        ("", {}, None),
    ],
)
def test_a_conversation_up_to_an_earlier_message_goes_back_to_it(
    ids: str, more: dict[str, Any], before: list[str] | None
) -> None:
    thought = {"id": "r", "role": "reasoning", "content": "hm"}
    messages = [{"id": id_, "role": "assistant" if id_ in "ab" else "user", "content": "x"} for id_ in ids]
    given = msgspec.convert({"threadId": "t", "runId": "r", "messages": [thought, *messages], **more}, RunAgentInput)
    assert goes_back_to(given, COMMITTED) == before


def test_answers_to_interrupts_resume() -> None:
    entries = [
        {"interruptId": "q:1", "status": "resolved", "payload": {"ok": True}},
        {"interruptId": "r:1", "status": "cancelled", "payload": 7},
    ]
    found = asked(USER, ANSWER, resume=entries)
    assert found is not None
    assert found.command == {"resume": {"q:1": {"ok": True}, "r:1": None}}
    assert found.input is None


def test_media_become_content_blocks() -> None:
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image", "source": {"type": "data", "value": "AA==", "mimeType": "image/png"}},
        {"type": "document", "source": {"type": "url", "value": "https://example.org/a.pdf"}},
    ]
    found = asked(USER | {"content": parts})
    assert found is not None
    assert found.input["messages"][0]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image", "base64": "AA==", "mime_type": "image/png"},
        {"type": "file", "url": "https://example.org/a.pdf"},
    ]


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"id": "t", "role": "tool", "content": "x"}, "toolCallId"),
        (USER | {"content": None}, "content must be"),
        (USER | {"content": [{"type": "image"}]}, "no source"),
        (USER | {"content": [{"type": "smell", "source": {"type": "url", "value": "x"}}]}, "'smell'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_message_s_name(message: dict[str, Any], named: str) -> None:
    with pytest.raises(Problem, match=named) as refused:
        asked(message)
    assert f"message {message['id']!r}" in str(refused.value)
