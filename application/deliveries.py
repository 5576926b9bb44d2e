"""What a reader of a session is told, in order. Transports turn these into frames; nothing else crosses."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from unbroken.domain.effects import LogEntry
from unbroken.domain.events import Event
from unbroken.domain.stream_parts import StepPart, TextPart, ToolPart

ResetReason = Literal["started", "retry", "takeover", "resync"]
GapReason = Literal["retained", "too_far", "unknown_cursor"]


class ShowUser(Struct, frozen=True):
    """A user's event; precedes everything else of it."""

    event: Event


class ShowLogged(Struct, frozen=True):
    """A durable frame, with its cursor."""

    entry: LogEntry


class ShowReset(Struct, frozen=True):
    """The text is now empty and belongs to `attempt`."""

    request_id: str
    attempt: int
    reason: ResetReason
    again: bool = False
    """Another attempt at the same event came before it, also where the reason is that the reader comes late."""

    @property
    def voids(self) -> bool:
        """Whether somebody may have been shown what came to nothing."""
        return self.again or self.reason in ("retry", "takeover")


class ShowText(Struct, frozen=True):
    request_id: str
    attempt: int
    part: TextPart
    sides: int
    """How many parts that are no text stand before it in the attempt's stream: with its offset, its place there."""


class ShowTool(Struct, frozen=True):
    request_id: str
    attempt: int
    part: ToolPart
    sides: int


class ShowStep(Struct, frozen=True):
    request_id: str
    attempt: int
    part: StepPart
    sides: int


class ShowGap(Struct, frozen=True):
    """The log after `cursor` follows; what lies before must be read from the history."""

    cursor: int
    reason: GapReason


Delivery = ShowUser | ShowLogged | ShowReset | ShowText | ShowTool | ShowStep | ShowGap
