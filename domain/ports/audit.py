from __future__ import annotations

from abc import ABC, abstractmethod

from unbroken.domain.audit import SessionFacts
from unbroken.domain.diagnosis import StoreFacts


class Audit(ABC):
    """What is durably known, for people's eyes: reads, none of them part of a turn. Both raise StoreUnavailable."""

    @abstractmethod
    async def session(
        self, thread_id: str, *, before: int | None = None, limit: int, request_id: str | None = None
    ) -> SessionFacts | None:
        """The last `limit` events below the `seq` `before` (None: the newest), of that request only if one is named.
        None: no such thread, or its tombstone. Not one snapshot: an event may end while this reads."""

    @abstractmethod
    async def trouble(self, *, older_s: float, limit: int) -> StoreFacts:
        """What has been unfinished or due for longer than `older_s` seconds, by the store's clock, and every dead
        letter; of each kind the `limit` oldest."""
