"""The checkpoint saver that turns use: it reads committed state, and stages what LangGraph writes.

Nothing is durable until the turn's unit of work commits what `take` hands over (I4, I5). Within the attempt,
reads see what was staged, as if it were stored: values read back went through the serializer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from copy import copy
from inspect import signature
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS

from unbroken.adapters.langgraph.attachments import Attachments, allowing
from unbroken.adapters.langgraph.checkpoint_ids import raise_clock_above
from unbroken.adapters.langgraph.delta_history import delta_history
from unbroken.adapters.langgraph.rows import channel_values, config_of, next_version, to_tuple
from unbroken.adapters.langgraph.staging import StagedCheckpoint, StagedWrite, Staging, is_call
from unbroken.domain.checkpoints import ROOT, StateChange, StoredCheckpoint, WriteRow
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.turn import Fork, Gate


class StagingSaver(BaseCheckpointSaver[str]):
    """One thread's state during one attempt, over the official tables.

    "Latest" is the head, staged or committed, never the highest id. Every call raises Fenced once the gate is
    closed, so whatever an abandoned attempt still does has no effect. LangGraph may shallow-copy the saver: all
    that changes lives in one shared `Staging`.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        thread_id: str,
        *,
        head: str | None,
        gate: Gate | None = None,
        serde: SerializerProtocol | None = None,
        whole: bool = False,
    ) -> None:
        """`head`: the root's, as in `Claim.head`: None adopts the store's choice, "" is known to be empty. `whole`: see
        `Staging`."""
        super().__init__(serde=serde)
        self.checkpoints = checkpoints
        self.thread_id = thread_id
        self.gate = gate or Gate()
        self.staging = Staging(head, whole=whole)
        self.attachments: Attachments | None = None
        self.loop = asyncio.get_running_loop()

    def start_from(self, fork: Fork) -> None:
        """Go on from another branch. New ids sort after those of the branch that is left: people who look with the
        official saver see the newest one."""
        former = self.staging.heads.get(ROOT)
        if former:
            raise_clock_above(former)
        self.staging.start_from(fork)

    def attach(self, attachments: Attachments) -> None:
        """From here on, files stand in the place of references to them in all that is read, and only there."""
        self.attachments = attachments
        self.serde = attachments.serde(self.serde)

    def take(self) -> StateChange:
        """What was staged since the last call, serialized; it is not held here any longer."""
        return self.staging.take(self.serde)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        self._check(config)
        checkpoint_ns = config["configurable"].get("checkpoint_ns", "")
        stored = await self._stored(checkpoint_ns, get_checkpoint_id(config))
        return await self._tuple(stored) if stored is not None else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (LangGraph's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Newest id first, staged ones included. Without a config: every thread's committed ones."""
        found = await self._history(config, filter, before, limit)
        for stored in found if limit is None else found[:limit]:
            yield await self._tuple(stored)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._check(config)
        configurable = config["configurable"]
        checkpoint_ns = configurable.get("checkpoint_ns", "")
        self.staging.put(
            StagedCheckpoint(
                checkpoint_ns,
                configurable.get("checkpoint_id"),
                cast("Checkpoint", {**checkpoint, "channel_values": dict(checkpoint["channel_values"])}),
                dict(get_serializable_checkpoint_metadata(config, metadata)),
                dict(new_versions),
            )
        )
        return config_of(self.thread_id, checkpoint_ns, checkpoint["id"])

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self._check(config)
        configurable = config["configurable"]
        checkpoint = (configurable.get("checkpoint_ns", ""), configurable["checkpoint_id"])
        replaces = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        for idx, (channel, value) in enumerate(writes):
            key = (task_id, WRITES_IDX_MAP.get(channel, idx))
            self.staging.put_write(checkpoint, key, StagedWrite(task_path, channel, value, replaces))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        self._check(config)
        checkpoint_ns = config["configurable"].get("checkpoint_ns", "")
        found = await delta_history(
            self.serde,
            channels,
            start=get_checkpoint_id(config),
            load=lambda checkpoint_id: self._stored(checkpoint_ns, checkpoint_id),
            page=lambda before, limit: self._page(checkpoint_ns, before, limit),
        )
        if self.attachments is not None:
            await self.attachments.fill(list(found.values()))
        return found

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> StagingSaver:
        """Where LangGraph is strict about the types that it reads back: one that also makes these, the graph's own."""
        clone = copy(self)
        clone.serde = allowing(self.serde, extra_allowlist)
        return clone

    def get_next_version(self, current: str | None, channel: None) -> str:
        return next_version(current)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return asyncio.run_coroutine_threadsafe(self.aget_tuple(config), self.loop).result()

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (LangGraph's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        async def collected() -> Any:
            return [found async for found in self.alist(config, filter=filter, before=before, limit=limit)]

        yield from asyncio.run_coroutine_threadsafe(collected(), self.loop).result()

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        staged = self.aput(config, checkpoint, metadata, new_versions)
        return asyncio.run_coroutine_threadsafe(staged, self.loop).result()

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        staged = self.aput_writes(config, writes, task_id, task_path)
        asyncio.run_coroutine_threadsafe(staged, self.loop).result()

    def _check(self, config: RunnableConfig) -> None:
        self.gate.check()
        thread_id = str(config["configurable"]["thread_id"])
        if thread_id != self.thread_id:
            raise ValueError(f"a graph run for thread {self.thread_id!r} asked for the state of {thread_id!r}")

    async def _stored(self, checkpoint_ns: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        heads = self.staging.heads
        wanted = checkpoint_id or heads.get(checkpoint_ns)
        if wanted == "" or (wanted is None and self.staging.is_new_call(checkpoint_ns)):
            return None
        if wanted is not None and (checkpoint_ns, wanted) in self.staging.checkpoints:
            return self._staged(self.staging.checkpoints[checkpoint_ns, wanted])
        stored = await self.checkpoints.load(self.thread_id, checkpoint_ns, wanted)
        self.gate.check()
        if checkpoint_id is None:
            self._remember_head(checkpoint_ns, wanted, stored)
        return self._with_staged_writes(stored) if stored is not None else None

    def _remember_head(self, checkpoint_ns: str, known: str | None, stored: StoredCheckpoint | None) -> None:
        if stored is None:
            if not is_call(checkpoint_ns):
                self.staging.heads.setdefault(checkpoint_ns, "")
            return
        raise_clock_above(stored.row.checkpoint_id)
        self.staging.heads.setdefault(checkpoint_ns, stored.row.checkpoint_id)
        if known is None and not is_call(checkpoint_ns):
            self.staging.adopted.add(checkpoint_ns)

    async def _page(self, checkpoint_ns: str, before: str, limit: int) -> Sequence[StoredCheckpoint]:
        committed = await self.checkpoints.history(self.thread_id, checkpoint_ns, before=before, limit=limit)
        return [self._with_staged_writes(one) for one in committed]

    def _staged(self, staged: StagedCheckpoint) -> StoredCheckpoint:
        key = (staged.checkpoint_ns, staged.id)
        return StoredCheckpoint(
            self.thread_id,
            staged.row(staged.parent_id),
            tuple(staged.blobs(self.serde)),
            _ordered(self.staging.rows_of_writes(self.serde, key)),
        )

    def _with_staged_writes(self, stored: StoredCheckpoint) -> StoredCheckpoint:
        key = (stored.row.checkpoint_ns, stored.row.checkpoint_id)
        if stored.thread_id != self.thread_id or key not in self.staging.writes:
            return stored
        rows = {(write.task_id, write.idx): write for write in stored.writes}
        for write in self.staging.rows_of_writes(self.serde, key):
            if write.replaces or (write.task_id, write.idx) not in rows:
                rows[write.task_id, write.idx] = write
        return msgspec.structs.replace(stored, writes=_ordered(rows.values()))

    async def _tuple(self, stored: StoredCheckpoint) -> CheckpointTuple:
        row = stored.row
        checkpoint: dict[str, Any] = msgspec.json.decode(row.checkpoint)
        inlined = checkpoint.get("channel_values") or {}
        checkpoint["channel_values"] = channel_values(self.serde, inlined, stored.blobs)
        if checkpoint["v"] < 4 and row.parent_id:
            await self._migrate_sends(stored, checkpoint, row.parent_id)
        found = to_tuple(self.serde, stored, checkpoint)
        if self.attachments is not None:
            await self.attachments.fill_stored(stored, checkpoint["channel_values"], found.pending_writes)
        return found

    async def _migrate_sends(self, stored: StoredCheckpoint, checkpoint: dict[str, Any], parent_id: str) -> None:
        """Formats below 4 keep their pending sends beside the parent."""
        sends = await self.checkpoints.sends(stored.thread_id, stored.row.checkpoint_ns, parent_id)
        if sends:
            versions = checkpoint["channel_versions"]
            checkpoint["channel_values"][TASKS] = [self.serde.loads_typed(send) for send in sends]
            versions[TASKS] = max(versions.values()) if versions else next_version(None)

    async def _history(
        self,
        config: RunnableConfig | None,
        metadata: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Sequence[StoredCheckpoint]:
        self.gate.check()
        thread_id, checkpoint_ns, checkpoint_id = None, None, None
        if config is not None:
            self._check(config)
            thread_id, checkpoint_id = self.thread_id, get_checkpoint_id(config)
            checkpoint_ns = config["configurable"].get("checkpoint_ns")
        below = get_checkpoint_id(before) if before is not None else None
        staged = [self._staged(one) for one in self.staging.checkpoints.values()]
        matching = [
            one
            for one in staged
            if (checkpoint_ns is None or one.row.checkpoint_ns == checkpoint_ns)
            and (below is None or one.row.checkpoint_id < below)
            and (not metadata or _contains(msgspec.json.decode(one.row.metadata), metadata))
        ]
        committed = await self.checkpoints.history(
            thread_id, checkpoint_ns, before=below, metadata=metadata, limit=None if checkpoint_id else limit
        )
        found = [*matching, *(self._with_staged_writes(one) for one in committed)]
        if checkpoint_id is not None:
            found = [one for one in found if one.row.checkpoint_id == checkpoint_id]
        return sorted(found, key=lambda one: one.row.checkpoint_id, reverse=True)


# LangGraph asks at each run whether its saver knows `task_path`; an answer that is there costs a quarter.
setattr(StagingSaver.aput_writes, "__signature__", signature(StagingSaver.aput_writes))  # noqa: B010


def _ordered(writes: Any) -> tuple[WriteRow, ...]:
    return tuple(sorted(writes, key=lambda write: writes_sort_key(write.task_path, write.task_id, write.idx)))


def _contains(whole: Any, part: Any) -> bool:
    """jsonb's `@>`, for objects."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and _contains(whole[key], value) for key, value in part.items()
        )
    return bool(whole == part)
