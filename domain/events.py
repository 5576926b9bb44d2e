"""Facts that arrived. Immutable, append-only, numbered by `seq` without gaps per session (I3)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

ContentBlock = dict[str, Any]
"""One LangChain content block, e.g. `{"type": "text", "text": "…"}`."""


class UserMessage(Struct, frozen=True, tag="user_message", tag_field="type", omit_defaults=True):
    content: str | list[ContentBlock]
    replaces: str | None = None
    """Request id of an earlier message: the conversation goes on from before it. What followed it stays in the log."""


class InputResponse(Struct, frozen=True, tag="input_response", tag_field="type"):
    """A user's answer to an agent's question."""

    interrupt_id: str
    value: Any


class TimerFired(Struct, frozen=True, tag="timer_fired", tag_field="type"):
    """A timer that an agent set came due, and no user's message had cancelled it (I10)."""

    timer_id: str
    generation: int
    payload: Any = None


EventBody = UserMessage | InputResponse | TimerFired

FROM_USERS = (UserMessage, InputResponse)


class WhenBusy(StrEnum):
    """What a message does that comes while the session has unfinished events ("double texting")."""

    ENQUEUE = "enqueue"
    """Wait for them."""
    REJECT = "reject"
    """Be refused."""
    INTERRUPT = "interrupt"
    """Cancel them; what was shown stays in the conversation."""
    ROLLBACK = "rollback"
    """Cancel them as if they had never been said."""


class NewEvent(Struct, frozen=True):
    """What a caller hands to `EventStore.accept`."""

    id: str
    """Ours: time-ordered, globally unique; also the message id that the graph sees."""
    request_id: str
    """The caller's idempotency key: unique per thread (I2)."""
    body: EventBody
    trace_context: dict[str, str] = {}
    waited_s: float | None = None
    """How long ago it had come, when it was handed over; None: nobody measured that."""

    @property
    def from_user(self) -> bool:
        return isinstance(self.body, FROM_USERS)


class Event(Struct, frozen=True):
    """An accepted event."""

    seq: int
    id: str
    request_id: str
    body: EventBody
    created_at: datetime
    trace_context: dict[str, str] = {}

    @property
    def from_user(self) -> bool:
        return isinstance(self.body, FROM_USERS)


def body_hash(body: EventBody) -> bytes:
    """SHA-256 of the body's canonical JSON: what "the same id with another body" is decided by."""
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).digest()
