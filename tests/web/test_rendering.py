"""What stands beside an answer's text, as frames."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unbroken.application.deliveries import Delivery, ShowStep, ShowTool
from unbroken.domain.stream_parts import StepPart, ToolPart
from unbroken.entrypoints.web.codec import encode
from unbroken.entrypoints.web.rendering import MAX_STEP_BYTES, frame_of


def step(method: str, said: Any, *namespace: str, attempt: int = 1, offset: int = 3) -> ShowStep:
    data = None if said is None else json.dumps(said).encode()
    return ShowStep("r", attempt, StepPart(offset, method, namespace, data), 0)


def told(delivery: Delivery) -> dict[str, Any] | None:
    frame = frame_of(delivery)
    return None if frame is None else json.loads(encode(frame))


def test_each_kind_of_step_is_a_frame_of_its_own() -> None:
    place = {"requestId": "r", "attempt": 1, "offset": 3}
    assert told(step("custom", {"a": None})) == {"type": "custom", **place, "namespace": [], "value": {"a": None}}
    said = {"messageId": "m", "text": "hm"}
    for kind in ("reasoning", "aside"):
        frame = {"type": kind, **place, "namespace": ["a:1", "b:2"], "messageId": "m", "value": "hm"}
        assert told(step(kind, said, "a:1", "b:2")) == frame


def test_a_tool_of_a_subgraph_says_where_it_is_called_and_one_of_the_root_graph_says_what_it_always_said() -> None:
    root = {"type": "tool", "requestId": "r", "attempt": 1, "offset": 3, "toolCallId": "c", "name": "look"}
    for namespace in ((), ("a:1", "b:2")):
        part = ToolPart(3, "c", "look", "started", None, namespace)
        where = {"namespace": ["a:1", "b:2"]} if namespace else {}
        assert told(ShowTool("r", 1, part, 0)) == root | {"phase": "started"} | where


@pytest.mark.parametrize(
    "untold",
    [step("values", {}), step("messages", {"event": "message-finish"}), step("custom", None)],
    ids=["values", "messages", "let go of"],
)
def test_what_only_other_protocols_tell_is_no_frame(untold: ShowStep) -> None:
    assert frame_of(untold) is None


def test_what_is_longer_than_a_sockets_buffer_is_not_shown() -> None:
    assert told(step("custom", "x" * (MAX_STEP_BYTES - 2))) is not None
    assert told(step("custom", "x" * (MAX_STEP_BYTES - 1))) is None
