from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime

from unbroken.domain.effects import EffectClaim, LogEntry


class Outbox(ABC):
    """The effects table: the log that clients read, and the queue of what has no place in it."""

    @abstractmethod
    async def read(self, thread_id: str, *, after: int, limit: int) -> Sequence[LogEntry]:
        """Log entries with `log_index > after`, ascending, gap-free. Raises StoreUnavailable."""

    @abstractmethod
    async def mark(self, sent: Mapping[str, int], acked: Mapping[str, int]) -> None:
        """Raise the sessions' marks: thread id → highest log index written to a socket, and acknowledged.

        One statement for all; never lowers a mark; an unknown thread is ignored. Losing a call costs only
        freshness of the status. Raises StoreUnavailable.
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
    async def postpone(self, claim: EffectClaim, *, retry_after_s: float | None) -> bool:
        """Back to pending after a failure; None: a dead letter, status failed. False: as for `complete`."""

    @abstractmethod
    async def next_due(self) -> datetime | None:
        """When the earliest unfinished unlogged effect may be tried, by the store's clock; None: there is none."""
