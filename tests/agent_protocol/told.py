"""A session's deliveries made by hand, and what a narrator makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from unbroken.application.deliveries import Delivery, ResetReason, ShowLogged, ShowReset, ShowStep, ShowText, ShowUser
from unbroken.domain.effects import LogEntry, LoggedBody, SendMessage
from unbroken.domain.events import Event as Accepted
from unbroken.domain.events import RunStart, UserMessage
from unbroken.domain.live_stream import LiveStream
from unbroken.domain.stream_parts import TextPart, ToolPart
from unbroken.entrypoints.agent_protocol.narrator import STATE, Narrator
from unbroken.entrypoints.agent_protocol.wire import Event

ACCEPTED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW_MS = 1_800_000_000_000


def said(seq: int = 1, *, rich: bool = False) -> Accepted:
    body = RunStart(input={}, rich=True) if rich else UserMessage("hello")
    return Accepted(seq, f"event-{seq}", f"request-{seq}", body, ACCEPTED_AT)


def user(seq: int = 1, *, rich: bool = False) -> Delivery:
    return ShowUser(said(seq, rich=rich))


def begins(attempt: int, seq: int = 1, reason: ResetReason = "started", *, again: bool = False) -> Delivery:
    return ShowReset(f"request-{seq}", attempt, reason, again)


def logged(log_index: int, body: LoggedBody, seq: int = 1, *, rich: bool = False) -> Delivery:
    return ShowLogged(LogEntry(log_index, said(seq, rich=rich), body))


def answer(*messages: dict[str, Any], attempt: int = 1, **fields: Any) -> SendMessage:
    return SendMessage("", list(messages), attempt, 250, **fields)


def spoken(message_id: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"id": message_id, "role": "assistant", "content": content} | fields


def streamed(stream: LiveStream, attempt: int, seq: int = 1) -> list[Delivery]:
    """Part by part, as a reader is told that follows all of it."""
    found: list[Delivery] = []
    sides = 0
    for part in stream.beyond(0)[0]:
        assert not isinstance(part, ToolPart)
        if isinstance(part, TextPart):
            found.append(ShowText(f"request-{seq}", attempt, part, sides))
        else:
            found.append(ShowStep(f"request-{seq}", attempt, part, sides))
            sides += part.sides
    return found


def narrator(*seen: int | None) -> Narrator:
    return Narrator("agent", lambda: NOW_MS, seen=[seq for seq in seen if seq is not None])


def told(deliveries: Iterable[Delivery], by: Narrator | None = None) -> list[Event]:
    teller = by or narrator()
    events = [event for delivery in deliveries for event in teller.tell(delivery)]
    return events + teller.flush()


def brief(events: Iterable[Event]) -> list[tuple[str, Any]]:
    """(method, what it says), with the committed state as "state"."""
    return [(event.method, _brief(event)) for event in events]


def _brief(event: Event) -> Any:
    data = event.params.data
    if data is STATE:
        return "state"
    if isinstance(data, msgspec.Raw):
        return msgspec.json.decode(data)
    kind = data.get("event")
    match kind:
        case "message-start":
            return f"start {data['id']}"
        case "content-block-delta":
            return data["delta"].get("text", data["delta"])
        case "content-block-start" | "content-block-finish":
            content = data["content"]
            return f"{kind.rpartition('-')[2]} {data['index']} {content.get('text', content['type'])!r}"
        case "message-finish":
            return f"finish {data['message_id']}"
        case "error":
            return f"broke off {data.get('message_id')}"
        case None:
            return data
    return kind
