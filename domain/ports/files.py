from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from unbroken.domain.files import StoredFile
from unbroken.domain.session import SessionKey


class Files(ABC):
    """What a user attached to a thread: written once, never changed, gone with the thread.
    All raise StoreUnavailable."""

    @abstractmethod
    async def add(
        self, user_id: str, thread_id: str, *, file_id: str, name: str, mime_type: str, data: bytes, limit: int
    ) -> StoredFile:
        """Durable when it returns. Raises NotYourThread (also for a thread that does not exist), ThreadDeleted,
        TooManyFiles (the thread has `limit` files), CommitUnknown."""

    @abstractmethod
    async def read(self, user_id: str, thread_id: str, file_id: str) -> tuple[StoredFile, bytes]:
        """Raises UnknownFile, also for a thread of somebody else."""

    @abstractmethod
    async def missing(self, key: SessionKey, file_ids: Collection[str]) -> frozenset[str]:
        """Which of these are no files of the thread, or of no thread of that user's."""
