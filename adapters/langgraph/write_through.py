"""The staging saver outside of turns: for tools, migrations and tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from unbroken.adapters.langgraph.rows import next_version
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.ports.checkpoint_upkeep import CheckpointUpkeep
from unbroken.domain.ports.checkpoints import Checkpoints


class WriteThroughSaver(BaseCheckpointSaver[str]):
    """Any thread's state; every call is staged by a `StagingSaver` of its own and durable when it returns.

    Unfenced unless `flush` fences: do not run turns with it.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        upkeep: CheckpointUpkeep,
        *,
        flush: Callable[[str, StateChange], Awaitable[object]] | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        """`flush(thread_id, change)` makes one change durable; by default `Checkpoints.put`."""
        super().__init__(serde=serde)
        self.checkpoints = checkpoints
        self.upkeep = upkeep
        self.flush = flush or checkpoints.put

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._staging(config).aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (LangGraph's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        async for found in self._staging(config).alist(config, filter=filter, before=before, limit=limit):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        saver = self._staging(config)
        stored = await saver.aput(config, checkpoint, metadata, new_versions)
        await self.flush(saver.thread_id, saver.take())
        return stored

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        saver = self._staging(config)
        await saver.aput_writes(config, writes, task_id, task_path)
        await self.flush(saver.thread_id, saver.take())

    async def adelete_thread(self, thread_id: str) -> None:
        await self.upkeep.delete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self.upkeep.delete_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self.upkeep.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        if strategy not in {"keep_latest", "delete"}:
            raise ValueError(f"unknown prune strategy: {strategy!r}")
        await self.upkeep.prune(thread_ids, keep_latest=strategy == "keep_latest")

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._staging(config).aget_delta_channel_history(config=config, channels=channels)

    def get_next_version(self, current: str | None, channel: None) -> str:
        return next_version(current)

    def _staging(self, config: RunnableConfig | None) -> StagingSaver:
        thread_id = str(config["configurable"]["thread_id"]) if config is not None else ""
        return StagingSaver(self.checkpoints, thread_id, head=None, serde=self.serde)
