from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from unbroken.domain.session import SessionKey


class DueTimer(Struct, frozen=True):
    key: SessionKey
    timer_id: str
    generation: int
    payload: Any
    trace_context: dict[str, str] = {}
    """Of the commit that set it."""


class Timers(ABC):
    """Durable alarms. A timer fires at most once and never after the accept that cancelled it (I10): the
    promotion itself is `EventStore.accept` of a `TimerFired`, which decides the race."""

    @abstractmethod
    async def schedule(
        self, thread_id: str, timer_id: str, *, after_event: int, created_by: str, after_s: float, payload: Any
    ) -> None:
        """Set a timer `after_s` seconds from now, or for good leave it cancelled if a user's event with a `seq`
        above `after_event` was already accepted. Idempotent per `created_by` (the effect's dedupe key): doing it
        again changes nothing, not even a timer that fired. Another `created_by` for the same id sets it anew
        under the next generation."""

    @abstractmethod
    async def due(self, *, limit: int) -> Sequence[DueTimer]:
        """Candidates, oldest first, unlocked: `accept` decides whether each still stands."""

    @abstractmethod
    async def next_due_s(self) -> float | None:
        """Seconds until the next pending timer, by the store's clock (≤ 0: now). None: there is none."""
