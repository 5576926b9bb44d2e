from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from unbroken.domain.catalogue import Metadata, SortBy, ThreadQuery, ThreadRecord


class ThreadRecords(ABC):
    """A user's threads with what clients noted of them, those in which nothing ran yet included.

    A thread of somebody else is told from one that does not exist by nothing: both raise NotYourThread. All raise
    StoreUnavailable, and those that write CommitUnknown: doing it again is the same.
    """

    @abstractmethod
    async def create(self, user_id: str, thread_id: str, metadata: Metadata) -> bool:
        """A thread of `user_id` that no agent is bound to: the first event that anybody is to accept in it must be
        this user's, and binds it. False: the user has a thread of that id, and nothing was changed.
        Raises NotYourThread, ThreadDeleted, InvalidValue (metadata that cannot be stored, or are too long)."""

    @abstractmethod
    async def get(self, user_id: str, thread_id: str) -> ThreadRecord:
        """Raises NotYourThread, ThreadDeleted."""

    @abstractmethod
    async def search(
        self,
        user_id: str,
        query: ThreadQuery,
        *,
        limit: int,
        offset: int = 0,
        sort_by: SortBy = "updated_at",
        descending: bool = True,
    ) -> Sequence[ThreadRecord]:
        """Those of the same place in that order come in the order of their ids, in the same direction."""

    @abstractmethod
    async def count(self, user_id: str, query: ThreadQuery) -> int: ...

    @abstractmethod
    async def describe(self, user_id: str, thread_id: str, metadata: Metadata) -> None:
        """Set these pairs of the thread's metadata; others stay as they are. Raises NotYourThread, ThreadDeleted,
        InvalidValue."""

    @abstractmethod
    async def discard(self, user_id: str, thread_id: str) -> bool:
        """Remove a thread in which nothing ran: nothing of it stays, and its id may be used again. False: it is bound
        to an agent, and nothing was changed (`Threads.delete`). Raises NotYourThread."""
