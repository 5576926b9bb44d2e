"""An event as a graph's input."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from langchain_core.messages import HumanMessage

from unbroken.adapters.langgraph.effects import RESET
from unbroken.adapters.langgraph.rows import to_json
from unbroken.domain.events import Event, RunStart, TimerFired, UserMessage

TIMER = "timer"
"""The `name` of the message that a fired timer puts into the conversation."""


def message_of(event: Event) -> HumanMessage:
    """The message's id is the event's: a reducer that merges by id cannot double it."""
    body = event.body
    if isinstance(body, TimerFired):
        return HumanMessage(
            _timer_text(body.payload),
            id=event.id,
            name=TIMER,
            additional_kwargs={"timer_id": body.timer_id, "generation": body.generation, "payload": body.payload},
        )
    assert isinstance(body, UserMessage)
    content: Any = deepcopy(body.content)
    return HumanMessage(content, id=event.id)


def input_of(event: Event, effect_channels: Sequence[str]) -> Any:
    """What the graph is given; None: it goes on from where it stands."""
    if isinstance(event.body, RunStart):
        given = deepcopy(event.body.input)
        return {**given, **resets(effect_channels)} if isinstance(given, dict) else given
    return {"messages": [message_of(event)], **resets(effect_channels)}


def resets(effect_channels: Sequence[str]) -> dict[str, Any]:
    """Empties the effects that the event before this one left in the state."""
    return {channel: [RESET] for channel in effect_channels}


def _timer_text(payload: Any) -> str:
    if payload is None:
        return "(A timer that was set earlier has fired.)"
    said = payload if isinstance(payload, str) else to_json(payload).decode()
    return f"(A timer that was set earlier has fired: {said})"
