"""What a session says of a run, as AG-UI events: each sequence is one that the protocol's own validator accepts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.ag_ui.conformance import conforms
from unbroken.application.deliveries import Delivery, ResetReason, ShowReset, ShowStep, ShowText, ShowUser
from unbroken.domain.effects import CancelTurn, ReportFailure, RequestInput, SendMessage
from unbroken.domain.events import Event, RunStart
from unbroken.domain.stream_parts import StepPart, TextPart
from unbroken.entrypoints.ag_ui.messages import shown_messages
from unbroken.entrypoints.ag_ui.streaming import AgUiEvent
from unbroken.entrypoints.ag_ui.telling import Telling, at_rest

RUN = Event(1, "event-1", "request-1", RunStart({}, rich=True), datetime(2026, 1, 2, tzinfo=UTC))
ENDED = SendMessage("", [], 1, 250, token_usage={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7})
VALUES: dict[str, Any] = {
    "messages": [
        {"type": "human", "id": "u", "content": "hello"},
        {"type": "ai", "id": "m", "content": "Hi.", "tool_calls": []},
    ],
    "notes": ["a"],
}
COMMITTED = msgspec.json.encode({**VALUES, "messages": VALUES["messages"][:1]})
"""Before the answer."""
SAID = {"type": "human", "id": "u", "content": "hello"}


def reset(attempt: int = 1, reason: ResetReason = "started", request: str = "request-1") -> Delivery:
    return ShowReset(request, attempt, reason)


def step(method: str, data: Any, *namespace: str) -> Delivery:
    return ShowStep("request-1", 1, StepPart(0, method, namespace, msgspec.json.encode(data)), 0)


def message(event: str, **data: Any) -> Delivery:
    return step("messages", {"event": event, "message_id": "m"} | data)


def told(
    deliveries: Iterable[Delivery],
    end: SendMessage | CancelTurn | ReportFailure = ENDED,
    questions: Iterable[RequestInput] = (),
) -> list[AgUiEvent]:
    telling = Telling(RUN, "thread", "run")
    state = msgspec.json.encode(VALUES)
    events = telling.begins()
    for delivery in deliveries:
        events += telling.take(delivery, COMMITTED if telling.wants_state(delivery) else None)
    events += telling.ends(end, tuple(questions), state if telling.wants_end(end) else None)
    conforms(events)
    return events


def kinds(events: list[AgUiEvent]) -> list[str]:
    return [event["type"] for event in events]


TEXT = [
    step("messages", {"event": "message-start", "role": "ai", "id": "m"}),
    message("content-block-start", index=0, content={"type": "text", "text": ""}),
    message("content-block-delta", index=0, delta={"type": "text-delta", "text": "Hi"}),
    message("content-block-delta", index=0, delta={"type": "text-delta", "text": "."}),
]
TEXT_ENDS = [
    message("content-block-finish", index=0, content={"type": "text", "text": "Hi."}),
    message("message-finish"),
]


def test_a_text_is_streamed_and_its_end_is_what_is_committed() -> None:
    events = told([ShowUser(RUN), reset(), *TEXT, *TEXT_ENDS])
    assert kinds(events) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "MESSAGES_SNAPSHOT",
        "STATE_SNAPSHOT",
        "RUN_FINISHED",
    ]
    assert [event["delta"] for event in events if "delta" in event] == ["Hi", "."]
    assert events[-3]["messages"] == [
        {"id": "u", "role": "user", "content": "hello"},
        {"id": "m", "role": "assistant", "content": "Hi."},
    ]
    assert events[-2]["snapshot"] == {"notes": ["a"]}
    assert events[-1]["outcome"] == {"type": "success"}
    assert events[-1]["usage"] == [{"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}]


def test_of_other_runs_and_of_the_chat_s_own_text_nothing_is_told() -> None:
    chat = ShowText("request-1", 1, TextPart(0, "Hi", "m"), 0)
    assert kinds(told([reset(1, "retry", "request-0"), chat])) == kinds(told([]))


def test_thoughts_and_tool_calls_have_streams_of_their_own_and_end_with_their_message() -> None:
    events = told(
        [
            reset(),
            step("messages", {"event": "message-start", "role": "ai", "id": "m"}),
            message("content-block-start", index=0, content={"type": "reasoning", "reasoning": "Hm"}),
            message("content-block-delta", index=0, delta={"type": "reasoning-delta", "reasoning": "."}),
            message("content-block-finish", index=0, content={"type": "reasoning", "reasoning": "Hm."}),
            message("content-block-start", index=1, content={"type": "tool_call_chunk", "id": "c", "name": "look"}),
            message("content-block-delta", index=1, delta={"type": "tool-call-delta", "args": '{"a"'}),
            message("content-block-delta", index=1, delta={"type": "tool-call-delta", "args": ":1}"}),
            message("content-block-finish", index=1, content={"type": "tool_call", "id": "c", "name": "look"}),
            message("content-block-start", index=2, content={"type": "reasoning", "reasoning": "So"}),
            message("message-finish"),
            step("tools", {"event": "tool-started", "tool_call_id": "c", "tool_name": "look", "input": {"a": 1}}),
            step("tools", {"event": "tool-finished", "tool_call_id": "c", "output": {"type": "tool", "content": "2"}}),
            step(
                "message", {"message": {"type": "tool", "id": "t", "tool_call_id": "c", "content": "2"}, "metadata": {}}
            ),
            step("tools", {"event": "tool-started", "tool_call_id": "d", "tool_name": "own", "input": {}}),
            step("tools", {"event": "tool-error", "tool_call_id": "d", "message": "no"}),
        ]
    )
    assert [event.get("toolCallId") for event in events if event["type"] == "TOOL_CALL_START"] == ["c", "d"]
    assert "".join(event["delta"] for event in events if event["type"] == "TOOL_CALL_ARGS") == '{"a":1}{}'
    results = [(event["messageId"], event["content"]) for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert results == [("t", "2"), ("d:result", "no")], "under the state's id, where there is one"
    assert [event["delta"] for event in events if event["type"] == "REASONING_MESSAGE_CONTENT"] == ["Hm", ".", "So"]
    assert kinds(events).count("REASONING_END") == kinds(events).count("REASONING_START") == 2


@pytest.mark.parametrize("reason", ["retry", "takeover"])
def test_a_lost_attempt_s_streams_end_and_the_committed_conversation_replaces_them(reason: ResetReason) -> None:
    tasks = step("tasks", {"id": "1", "name": "model", "input": {}})
    events = told([reset(), tasks, *TEXT, reset(2, reason), tasks, *TEXT, *TEXT_ENDS])
    again = kinds(events).index("MESSAGES_SNAPSHOT")
    assert kinds(events)[again - 2 : again] == ["TEXT_MESSAGE_END", "STEP_FINISHED"]
    assert events[again + 1] == {"type": "STATE_SNAPSHOT", "snapshot": {"notes": ["a"]}}, "a state that was not kept"
    assert {event["messageId"] for event in events[again:] if "messageId" in event} == {"m:2"}, "an id that had ended"
    assert [event["type"] for event in events[again + 1 :] if event["type"].startswith("TEXT")] == [
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
    ]


def test_a_run_that_is_asked_for_again_begins_with_what_is_there_and_tells_none_of_that_twice() -> None:
    """A front end that was cut off has half a message, and adds what streams under its id; a snapshot takes it away."""
    run = Event(1, "event-1", "request-1", RunStart({"messages": [SAID]}, rich=True), datetime(2026, 1, 2, tzinfo=UTC))
    stored = [
        {"type": "human", "id": "u0", "content": "before"},
        {"type": "ai", "id": "c0", "content": "", "tool_calls": [{"id": "c", "name": "look", "args": {}}]},
        {"type": "tool", "id": "t", "content": "2", "tool_call_id": "c"},
    ]
    calls = [
        step("messages", {"event": "message-start", "role": "ai", "id": "c0"}),
        step("messages", {"event": "content-block-start", "index": 0, "message_id": "c0",
             "content": {"type": "tool_call", "id": "c", "name": "look", "args": "{}"}}),
        step("messages", {"event": "message-finish", "message_id": "c0"}),
        step("tools", {"event": "tool-started", "tool_call_id": "c", "tool_name": "look", "input": {}}),
        step("tools", {"event": "tool-finished", "tool_call_id": "c", "output": {"type": "tool", "content": "2"}}),
        step("message", {"message": {"type": "tool", "id": "t", "tool_call_id": "c", "content": "2"}, "metadata": {}}),
    ]  # fmt: skip
    telling = Telling(run, "thread", "run", again=True)
    events = telling.begins()
    for delivery in [ShowUser(run), reset(1, "resync"), *calls, *TEXT, *TEXT_ENDS]:
        wanted = telling.wants_state(delivery)
        assert wanted == isinstance(delivery, ShowReset)
        events += telling.take(delivery, msgspec.json.encode({"messages": stored}) if wanted else None)
    events += telling.ends(ENDED, (), msgspec.json.encode(VALUES))
    conforms(events)
    assert [message["id"] for message in events[1]["messages"]] == ["u0", "c0", "t", "u"]
    assert kinds(events)[2:-3] == [
        "STATE_SNAPSHOT",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
    ]
    assert not Telling(run, "thread", "run").wants_state(reset())


def test_nodes_are_steps_and_a_fan_out_of_one_is_one() -> None:
    events = told(
        [
            reset(),
            step("tasks", {"id": "1", "name": "errand", "input": {}}),
            step("tasks", {"id": "2", "name": "errand", "input": {}}),
            step("tasks", {"id": "3", "name": "inside", "input": {}}, "errand:1"),
            step("tasks", {"id": "1", "name": "errand", "result": {}}),
            step("tasks", {"id": "2", "name": "errand", "result": {}}),
            step("values", VALUES),
            step("custom", {"done": 0.5}),
        ]
    )
    assert [event["stepName"] for event in events if "stepName" in event] == ["errand", "errand"]
    assert kinds(events).count("STATE_SNAPSHOT") == 1, "it is told once what did not change"
    assert {"type": "CUSTOM", "name": "langgraph.custom", "value": {"done": 0.5}} in events


def test_a_subgraph_speaks_as_a_subagent() -> None:
    says = {"event": "content-block-delta", "message_id": "s", "index": 0, "delta": {"type": "text-delta", "text": "x"}}
    inner = [
        step("messages", {"event": "message-start", "role": "ai", "id": "s"}, "team:1", "one:2"),
        step("messages", says, "team:1", "one:2"),
    ]
    twice = told([reset(), *inner, reset(2, "takeover"), *inner])
    assert [event["subagentRunId"] for event in twice if event["type"] == "SUBAGENT_STARTED"][2:] == [
        "team:1:2",
        "team:1|one:2:2",
    ]
    events = told([reset(), *inner])
    assert [event.get("name") for event in events if event["type"] == "SUBAGENT_STARTED"] == ["team", "one"]
    assert {event["subagentRunId"] for event in events if event["type"].startswith("TEXT")} == {"team:1|one:2"}
    assert kinds(events).count("SUBAGENT_FINISHED") == 2


def test_how_runs_end() -> None:
    asked = [RequestInput("q:1", "Name?"), RequestInput("r:1", {"question": "Sure?", "reason": "approval"})]
    interrupts = told([reset()], questions=asked)[-1]["outcome"]["interrupts"]
    assert [(one["id"], one["reason"], one["message"]) for one in interrupts] == [
        ("q:1", "input_required", "Name?"),
        ("r:1", "approval", "Sure?"),
    ]
    assert told([reset(), *TEXT], CancelTurn("Hi", 1))[-1]["outcome"] == {"type": "cancelled"}
    failed = told([reset(), *TEXT], ReportFailure("model_failed", "it broke", 1))
    assert failed[-1] == {"type": "RUN_ERROR", "message": "it broke", "code": "model_failed"}
    rest = at_rest("thread", "run", VALUES)
    conforms(rest)
    assert kinds(rest) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]


def test_a_stored_conversation_keeps_calls_results_and_media() -> None:
    stored = [
        {"type": "system", "id": "s", "content": "be kind"},
        {"type": "human", "id": "h", "content": [{"type": "text", "text": "see"}, {"type": "image", "base64": "AA=="}]},
        {"type": "ai", "id": "a", "content": [{"type": "text", "text": "ok"}], "tool_calls": [
            {"id": "c", "name": "look", "args": {"a": 1}}]},
        {"type": "tool", "id": "t", "content": "no", "tool_call_id": "c", "status": "error"},
        {"type": "remove", "id": "x"},
        {"type": "human", "content": "nameless"},
    ]  # fmt: skip
    shown = shown_messages(stored)
    conforms([{"type": "RUN_STARTED", "threadId": "t", "runId": "r"}, {"type": "MESSAGES_SNAPSHOT", "messages": shown},
           {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}])  # fmt: skip
    assert [message["role"] for message in shown] == ["system", "user", "assistant", "tool"]
    assert shown[1]["content"][1]["source"] == {"type": "data", "value": "AA==", "mimeType": "application/octet-stream"}
    assert shown[2]["toolCalls"][0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    assert shown[3]["error"] == "no"
