from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from unbroken.domain.checkpoints import StateChange, StoredCheckpoint


class Checkpoints(ABC):
    """Committed agent state, read by id or by head; never by "the highest id", but for adoption."""

    @abstractmethod
    async def load(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        """One checkpoint. Without an id: the namespace's head; "" as head means none; where no head was ever
        set, the highest id is adopted (a thread written by the official saver). Raises StoreUnavailable."""

    @abstractmethod
    async def history(
        self,
        thread_id: str | None,
        checkpoint_ns: str | None,
        *,
        before: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Sequence[StoredCheckpoint]:
        """Newest id first. `metadata` keeps rows whose metadata contain all its pairs. None means any."""

    @abstractmethod
    async def sends(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> Sequence[tuple[str, bytes]]:
        """(type, blob) of the pending sends stored beside a checkpoint older than format 4, in task order."""

    @abstractmethod
    async def put(self, thread_id: str, change: StateChange) -> None:
        """Write outside any turn (a tool or a migration): atomic, unfenced, moves the heads it names."""
