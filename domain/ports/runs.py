from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from unbroken.domain.runs import Run, RunState


class Runs(ABC):
    """What came of the events of a user's threads: reads of one snapshot each. All raise StoreUnavailable."""

    @abstractmethod
    async def get(self, user_id: str, thread_id: str, run_id: str) -> Run:
        """Raises UnknownRequest (no such run, or an event that is none), NotYourThread (also for a thread that does
        not exist), ThreadDeleted."""

    @abstractmethod
    async def page(
        self, user_id: str, thread_id: str, *, state: RunState | None = None, offset: int = 0, limit: int
    ) -> Sequence[Run]:
        """The newest first, those in `state` only if it is given. Raises NotYourThread, ThreadDeleted."""

    @abstractmethod
    async def unfinished(self, user_id: str, *, limit: int) -> Sequence[Run]:
        """Over all of the user's threads, at most `limit`, thread by thread in the order of their events."""
