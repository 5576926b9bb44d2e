from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence


class CheckpointUpkeep(ABC):
    """Wholesale changes to stored agent state; each call is one transaction, none of them is part of a turn."""

    @abstractmethod
    async def delete_thread(self, thread_id: str) -> None:
        """Remove every checkpoint, blob, write and head of the thread; events and effects stay."""

    @abstractmethod
    async def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints whose metadata name one of these runs, and their writes."""

    @abstractmethod
    async def copy_thread(self, source: str, target: str) -> None:
        """Copy checkpoints, blobs, writes and heads; `target` must hold none."""

    @abstractmethod
    async def prune(self, thread_ids: Sequence[str], *, keep_latest: bool) -> None:
        """Keep only what the heads reach (per namespace), or nothing."""
