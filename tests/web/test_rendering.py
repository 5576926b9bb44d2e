"""What stands beside an answer's text, as frames."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unbroken.application.deliveries import Delivery, ShowReset, ShowStep, ShowText
from unbroken.domain.live_stream import StepPart, TextPart
from unbroken.entrypoints.web.codec import encode
from unbroken.entrypoints.web.rendering import MAX_JOINED_BYTES, MAX_STEP_BYTES, frame_of, gathered


def step(method: str, said: Any, *namespace: str, attempt: int = 1, offset: int = 3) -> ShowStep:
    data = None if said is None else json.dumps(said).encode()
    return ShowStep("r", attempt, StepPart(offset, method, namespace, data), 0)


def piece(text: str, message_id: str = "m", **more: Any) -> ShowStep:
    return step("reasoning", {"messageId": message_id, "text": text}, **more)


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


def test_pieces_of_one_thought_that_wait_together_are_one_frame() -> None:
    text = ShowText("r", 1, TextPart(3, "said", "m"), 2)
    reset = ShowReset("r", 1, "started")
    found = gathered([reset, piece("a"), piece("b"), text, piece("c"), piece("d", "n"), piece("e", "n")])
    values = [(frame or {}).get("value") for frame in map(told, found)]
    assert values == [None, "ab", "said", "c", "de"]
    assert gathered([text]) == [text]


@pytest.mark.parametrize(
    "other",
    [
        piece("b", "n"),
        piece("b", attempt=2),
        step("aside", {"messageId": "m", "text": "b"}),
        step("reasoning", {"messageId": "m", "text": "b"}, "a:1"),
        step("reasoning", None),
        piece("b" * MAX_JOINED_BYTES),
    ],
    ids=["message", "attempt", "kind", "namespace", "let go of", "long"],
)
def test_pieces_of_two_are_not_joined(other: ShowStep) -> None:
    assert gathered([piece("a"), other]) == [piece("a"), other]
