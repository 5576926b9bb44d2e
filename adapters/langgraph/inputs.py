"""An event as a graph's input."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages

from unbroken.adapters.langgraph.effects import RESET
from unbroken.adapters.langgraph.rows import to_json
from unbroken.domain.events import Event, RunStart, TimerFired, UserMessage
from unbroken.domain.files import file_id_of

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


def messages_of(event: Event) -> list[BaseMessage]:
    """What the event adds to a conversation, before anybody answers."""
    if not isinstance(event.body, RunStart):
        return [message_of(event)] if isinstance(event.body, UserMessage | TimerFired) else []
    given = event.body.input.get("messages") if isinstance(event.body.input, dict) else None
    try:
        return [*convert_to_messages(_identified(given, event.id))] if given else []
    except Exception:  # noqa: BLE001 (of the caller's own making; the graph may know what it is)
        return []


def own_ids(event: Event) -> frozenset[str]:
    """Of the messages that come with the event: nobody answers by them."""
    if isinstance(event.body, RunStart):
        return frozenset(str(message.id) for message in messages_of(event) if message.id)
    return frozenset({event.id})


def input_of(event: Event, effect_channels: Sequence[str]) -> Any:
    """What the graph is given; None: it goes on from where it stands."""
    if isinstance(event.body, RunStart):
        given = deepcopy(event.body.input)
        if not isinstance(given, dict):
            return given
        if "messages" in given:
            given["messages"] = _attaching(_identified(given["messages"], event.id))
        return {**given, **resets(effect_channels)}
    return {"messages": [message_of(event)], **resets(effect_channels)}


def _identified(messages: Any, event_id: str) -> Any:
    """Messages without an id get one that is the same in each attempt, the last one the event's."""
    if not isinstance(messages, list):
        return [messages] if isinstance(messages, dict) else messages
    identified = []
    for index, message in enumerate(messages):
        if isinstance(message, dict) and not message.get("id") and ("role" in message or "type" in message):
            last = index == len(messages) - 1
            message = {**message, "id": event_id if last else f"{event_id}:{index}"}  # noqa: PLW2901
        identified.append(message)
    return identified


def _attaching(messages: Any) -> Any:
    """Those that refer to files as LangChain's own messages: in these alone files stand in the place of references."""
    if not isinstance(messages, list):
        return messages
    return [convert_to_messages([message])[0] if _refers(message) else message for message in messages]


def _refers(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and any(isinstance(block, dict) and file_id_of(block) for block in content)


def resets(effect_channels: Sequence[str]) -> dict[str, Any]:
    """Empties the effects that the event before this one left in the state."""
    return {channel: [RESET] for channel in effect_channels}


def _timer_text(payload: Any) -> str:
    if payload is None:
        return "(A timer that was set earlier has fired.)"
    said = payload if isinstance(payload, str) else to_json(payload).decode()
    return f"(A timer that was set earlier has fired: {said})"
