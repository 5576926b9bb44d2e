from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from unbroken.domain.session import SessionKey


class Expired(Struct, frozen=True):
    deleted: tuple[SessionKey, ...]
    resume_after: str
    """Where the next look goes on; empty: it begins anew."""


class UserData(ABC):
    """Everything that is stored of a user, wholesale. Not part of any turn."""

    @abstractmethod
    def export(self, user_id: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every thread, tombstones included, each followed by its events, effects, timers and files; then
        what clients noted of threads, and the user's assistants. Values are
        plain JSON, but for `datetime`, and `bytes` of files. Not one snapshot: each thread is one at most.
        Raises StoreUnavailable."""

    @abstractmethod
    async def erase(self, user_id: str) -> Sequence[SessionKey]:
        """Remove every thread of the user, tombstones included: nothing in the store names the user, or holds
        anything that was said, any more. The threads' ids can still never be bound again. Raises StoreUnavailable or
        CommitUnknown: some threads may be erased; doing it again does the rest."""

    @abstractmethod
    async def expire_temporary(self, *, idle_s: float, after: str, limit: int) -> Expired:
        """As `expire`, of the threads that were made for a run (`RunStart.temporary`), without a look at any other."""

    @abstractmethod
    async def expire(self, *, idle_s: float, after: str, limit: int) -> Expired:
        """Delete, as `Threads.delete` does, idle threads without activity for `idle_s` seconds, by the store's clock;
        a thread with a pending timer is not idle. Looks at `limit` threads, in the order of their ids, from above
        `after` on: so a large store is gone through bit by bit. Raises StoreUnavailable, CommitUnknown."""
