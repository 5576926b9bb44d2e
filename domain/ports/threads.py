from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from unbroken.domain.session import SessionKey
from unbroken.domain.threads import Place, Thread


class Threads(ABC):
    """A user's conversations. A thread of somebody else is told from one that does not exist by nothing: both raise
    NotYourThread. All raise StoreUnavailable, and those that write CommitUnknown: doing it again is the same."""

    @abstractmethod
    async def get(self, user_id: str, thread_id: str) -> Thread:
        """Raises NotYourThread, ThreadDeleted."""

    @abstractmethod
    async def page(self, user_id: str, *, query: str = "", before: Place | None = None, limit: int) -> Sequence[Thread]:
        """Newest activity first, from below `before`. `query`: only those whose title or text holds it, whatever the
        case of its letters; no character in it means anything but itself. Raises InvalidValue for U+0000."""

    @abstractmethod
    async def count(self, user_id: str) -> int:
        """Of the threads that the user has, those in which nothing ran yet (`ThreadRecords`) included, deleted ones not
        among them."""

    @abstractmethod
    async def create(self, key: SessionKey, *, title: str | None = None) -> Thread:
        """Bind a new thread to `key` before its first message; one that is bound to it already is left as it is.
        Raises NotYourThread (also for another agent), ThreadDeleted."""

    @abstractmethod
    async def rename(self, user_id: str, thread_id: str, title: str | None) -> Thread:
        """None: back to the title made of the first message. Raises NotYourThread, ThreadDeleted."""

    @abstractmethod
    async def delete(self, user_id: str, thread_id: str) -> SessionKey:
        """Remove everything the thread holds. What stays is its tombstone: no attempt that still runs can write to it
        (I5), and its id is never bound again. A tombstone of the user's own is left as it is. Raises NotYourThread."""

    @abstractmethod
    async def gone(self, thread_ids: Collection[str]) -> frozenset[str]:
        """Which of these, all of which existed, do not any more."""
