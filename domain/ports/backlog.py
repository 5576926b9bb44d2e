from __future__ import annotations

from abc import ABC, abstractmethod

from msgspec import Struct


class Backlog(Struct, frozen=True):
    """What is owed at this moment, in the whole store."""

    events: int
    """Accepted and not at their end, running ones included."""
    oldest_event_s: float
    """How long the oldest of them has waited for its end; 0: there is none."""
    effects_pending: int
    """To be executed, not by clients."""
    effects_executing: int
    dead_letters: int
    """Effects given up for good, and not revived."""
    lease_left_s: float
    """Of one boot of one replica; 0: it counts as dead, or has left."""


class Backlogs(ABC):
    """How much waits, for those who watch over it; nothing is decided by it."""

    @abstractmethod
    async def measure(self, *, replica: int) -> Backlog:
        """One read, by the store's clock, over what is unfinished only. Raises StoreUnavailable."""
