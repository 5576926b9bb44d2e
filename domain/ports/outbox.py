from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from unbroken.domain.effects import EffectBody, EffectClaim, LogEntry


class Reached(Struct, frozen=True):
    """A place in a session's log."""

    log_index: int
    ago_s: float = 0.0
    """How long ago it was reached."""


class Ended(Struct, frozen=True):
    """How an event ended."""

    body: EffectBody
    checkpoint_id: str | None
    """The root head that its end has left, whatever came after it; None: there was none."""


class Outbox(ABC):
    """The effects table: the log that clients read, and the queue of what has no place in it."""

    @abstractmethod
    async def read(self, thread_id: str, *, after: int, limit: int) -> Sequence[LogEntry]:
        """Log entries with `log_index > after`, ascending, gap-free. Raises StoreUnavailable."""

    @abstractmethod
    async def end_of(self, thread_id: str, seq: int) -> Ended | None:
        """What the event ended with, in the log or not; None: it has not, or its thread is gone. Raises
        StoreUnavailable."""

    @abstractmethod
    async def mark(self, sent: Mapping[str, Reached], acked: Mapping[str, Reached]) -> None:
        """Raise the sessions' marks: thread id → how far the log was written to a socket, and acknowledged.

        One statement for all; never lowers a mark; an unknown thread is ignored. What was raised, and when, is kept.
        Losing a call costs only freshness of the status, and the moment. Raises StoreUnavailable.
        """

    @abstractmethod
    async def claim(self, *, replica: int, limit: int, until_s: float) -> Sequence[EffectClaim]:
        """Claim unlogged effects that are due, at most one a session: its oldest unfinished one, so that
        their order holds. An expired claim is claimed again under a higher `claim_no`. One of N racing
        claimers wins. `until_s`: seconds the claim holds, by the store's clock."""

    @abstractmethod
    async def complete(self, claim: EffectClaim) -> bool:
        """Mark it completed. False: a later claim has taken over, nothing was changed."""

    @abstractmethod
    async def postpone(self, claim: EffectClaim, *, retry_after_s: float | None, error: str | None = None) -> bool:
        """Back to pending after a failure; None: a dead letter, status failed. False: as for `complete`.
        `error`: why, for people's eyes."""

    @abstractmethod
    async def revive(self, thread_id: str, effect_id: str) -> bool:
        """One more try for a dead letter, now; those it has had stay counted. False: it is none (any more).
        Raises StoreUnavailable, CommitUnknown."""

    @abstractmethod
    async def next_due(self) -> datetime | None:
        """When the earliest unfinished unlogged effect may be tried, by the store's clock; None: there is none."""
