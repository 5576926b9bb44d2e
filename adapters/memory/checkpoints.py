from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unbroken.adapters.memory.agent_state import at_rest, extended
from unbroken.adapters.memory.encoding import decode_blob, decode_checkpoint, decode_json, decode_write
from unbroken.adapters.memory.tables import AgentState
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.checkpoints import BlobRow, CheckpointRow, StateChange, StoredCheckpoint, WriteRow
from unbroken.domain.ports.checkpoints import Checkpoints

PENDING_SENDS = "__pregel_tasks"
"""The channel that checkpoints older than format 4 keep their sends in."""


class MemoryCheckpoints(Checkpoints):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        def step(transaction: Transaction) -> StoredCheckpoint | None:
            state = transaction.agent_states.get(thread_id) or AgentState()
            wanted = checkpoint_id
            if wanted is None:
                head = state.heads.get(checkpoint_ns)
                wanted = head.checkpoint_id if head else state.highest(checkpoint_ns)
            encoded = state.checkpoints.get((checkpoint_ns, wanted))
            return _stored(thread_id, state, decode_checkpoint(encoded)) if encoded is not None else None

        return await self._database.run("load", step)

    async def history(
        self,
        thread_id: str | None,
        checkpoint_ns: str | None,
        *,
        before: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Sequence[StoredCheckpoint]:
        def step(transaction: Transaction) -> list[StoredCheckpoint]:
            found: list[StoredCheckpoint] = []
            for thread, state, (ns, id_) in _newest_first(transaction, thread_id):
                if limit is not None and len(found) >= limit:
                    break
                if (checkpoint_ns is not None and ns != checkpoint_ns) or (before is not None and id_ >= before):
                    continue
                row = decode_checkpoint(state.checkpoints[ns, id_])
                if metadata is None or _contains(decode_json(row.metadata), metadata):
                    found.append(_stored(thread, state, row))
            return found

        return await self._database.run("history", step)

    async def sends(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> Sequence[tuple[str, bytes]]:
        def step(transaction: Transaction) -> list[tuple[str, bytes]]:
            state = transaction.agent_states.get(thread_id) or AgentState()
            rows = _writes(state, checkpoint_ns, checkpoint_id)
            return [(row.type, row.blob) for row in rows if row.channel == PENDING_SENDS]

        return await self._database.run("sends", step)

    async def put(self, thread_id: str, change: StateChange) -> None:
        def step(transaction: Transaction) -> None:
            state = transaction.agent_states.get(thread_id) or AgentState()
            named = [checkpoint_ns for checkpoint_ns, _ in change.heads]
            transaction.agent_states.put(thread_id, at_rest(extended(state, change), named))

        await self._database.run("put", step)


def _newest_first(transaction: Transaction, thread_id: str | None) -> list[tuple[str, AgentState, tuple[str, str]]]:
    if thread_id is None:
        states = list(transaction.agent_states.items())
    else:
        state = transaction.agent_states.get(thread_id)
        states = [(thread_id, state)] if state is not None else []
    found = [(thread, state, place) for thread, state in states for place in state.checkpoints]
    return sorted(found, key=lambda row: row[2][1], reverse=True)


def _contains(pairs: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in pairs and pairs[name] == value for name, value in wanted.items())


def _stored(thread_id: str, state: AgentState, row: CheckpointRow) -> StoredCheckpoint:
    blobs = tuple(_blobs(state, row))
    return StoredCheckpoint(thread_id, row, blobs, _writes(state, row.checkpoint_ns, row.checkpoint_id))


def _blobs(state: AgentState, row: CheckpointRow) -> Iterator[BlobRow]:
    """The channels' values at the versions that this checkpoint names."""
    for channel, version in sorted(decode_json(row.checkpoint).get("channel_versions", {}).items()):
        if (encoded := state.blobs.get((row.checkpoint_ns, channel, str(version)))) is not None:
            yield decode_blob(encoded)


def _writes(state: AgentState, checkpoint_ns: str, checkpoint_id: str) -> tuple[WriteRow, ...]:
    rows = map(decode_write, state.writes.get((checkpoint_ns, checkpoint_id), {}).values())
    return tuple(sorted(rows, key=lambda row: (row.task_path, row.task_id, row.idx)))
