from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from unbroken.adapters.postgres.pool import Pool
from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.checkpoint_upkeep import CheckpointUpkeep

Place = tuple[str, str]
"""(namespace, checkpoint id)"""

LOCK: Final = "SELECT FROM sessions WHERE thread_id = $1 FOR NO KEY UPDATE"
"""Waits for a turn's commit, and lets none in until this transaction ends."""

STATE_TABLES: Final = ("heads", "checkpoint_writes", "checkpoint_blobs", "checkpoints")

SHAPE: Final = """
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata ->> 'run_id' AS run_id,
    metadata ?| ARRAY['counters_since_delta_snapshot', 'delta_writes_versioned'] AS is_delta
FROM checkpoints WHERE thread_id = $1
"""
"""`is_delta`: the official saver's marks of a value that is spread over its ancestors' writes."""

DROP_ROWS: Final = """
DELETE FROM {table} r USING unnest($2::text[], $3::text[]) gone (ns, id)
WHERE r.thread_id = $1 AND r.checkpoint_ns = gone.ns AND r.checkpoint_id = gone.id
"""

DROP_BLOBS: Final = """
DELETE FROM checkpoint_blobs b WHERE b.thread_id = $1 AND NOT EXISTS (
    SELECT FROM checkpoints c, jsonb_each_text(c.checkpoint -> 'channel_versions') named
    WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns
      AND named.key = b.channel AND named.value = b.version)
"""

MOVE_HEADS: Final = """
UPDATE heads h SET checkpoint_id = moved.head, base_id = moved.base
FROM unnest($2::text[], $3::text[], $4::text[]) moved (ns, head, base)
WHERE h.thread_id = $1 AND h.checkpoint_ns = moved.ns
"""


class _State(Struct):
    """Where a thread's checkpoints and heads stand."""

    parents: dict[Place, str | None]
    runs: dict[Place, str | None]
    deltas: set[Place]
    heads: dict[str, tuple[str, str]]
    """Namespace → (head, base)."""

    def lineage(self, ns: str, checkpoint_id: str | None) -> Iterator[Place]:
        """A checkpoint and its ancestors, nearest first, as far as they are stored."""
        while (place := (ns, checkpoint_id or "")) in self.parents:
            yield place
            checkpoint_id = self.parents[place]

    def reached(self) -> set[Place]:
        """What heads and bases point to (the highest id where no head was set), with what it is built from."""
        tips = {(ns, tip) for ns, pair in self.heads.items() for tip in pair}
        highest: dict[str, str] = {}
        for ns, checkpoint_id in self.parents:
            if ns not in self.heads:
                highest[ns] = max(checkpoint_id, highest.get(ns, ""))
        found: set[Place] = set()
        for ns, tip in tips | set(highest.items()):
            for place in self.lineage(ns, tip):
                found.add(place)
                if place not in self.deltas:
                    break
        return found


class PostgresCheckpointUpkeep(CheckpointUpkeep):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def delete_thread(self, thread_id: str) -> None:
        async with self._pool.transaction() as connection:
            await _delete(connection, thread_id)

    async def delete_runs(self, run_ids: Sequence[str]) -> None:
        doomed = frozenset(run_ids)
        async with self._pool.transaction() as connection:
            threads = await connection.fetch(
                "SELECT DISTINCT thread_id FROM checkpoints WHERE metadata ->> 'run_id' = ANY ($1) ORDER BY thread_id",
                list(doomed),
            )
            for thread in threads:
                await _keep(
                    connection,
                    thread["thread_id"],
                    lambda state: {place for place in state.parents if state.runs[place] not in doomed},
                )

    async def copy_thread(self, source: str, target: str) -> None:
        async with self._pool.transaction() as connection:
            for thread_id in sorted((source, target)):
                await connection.execute(LOCK, thread_id)
            for table in STATE_TABLES:
                if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE thread_id = $1)", target):
                    raise InvalidValue("target", f"thread {target!r} holds checkpoints already")
            for table in STATE_TABLES:
                columns = await connection.fetchval(
                    "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
                    " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'thread_id'",
                    table,
                )
                copy = (
                    f"INSERT INTO {table} (thread_id, {columns}) SELECT $2, {columns} FROM {table} WHERE thread_id = $1"
                )
                await connection.execute(copy, source, target)

    async def prune(self, thread_ids: Sequence[str], *, keep_latest: bool) -> None:
        async with self._pool.transaction() as connection:
            for thread_id in sorted(thread_ids):
                if keep_latest:
                    await _keep(connection, thread_id, _State.reached)
                else:
                    await _delete(connection, thread_id)


async def _delete(connection: PoolConnectionProxy, thread_id: str) -> None:
    await connection.execute(LOCK, thread_id)
    for table in STATE_TABLES:
        await connection.execute(f"DELETE FROM {table} WHERE thread_id = $1", thread_id)


async def _keep(connection: PoolConnectionProxy, thread_id: str, choose: Callable[[_State], set[Place]]) -> None:
    """Only the chosen checkpoints, with the blobs they name and the writes beside them.

    A head or base whose checkpoint goes falls back to the nearest ancestor that stays, else to "known to be empty".
    """
    await connection.execute(LOCK, thread_id)
    state = await _read(connection, thread_id)
    stays = choose(state)
    if gone := [place for place in state.parents if place not in stays]:
        names, ids = [ns for ns, _ in gone], [checkpoint_id for _, checkpoint_id in gone]
        for table in ("checkpoint_writes", "checkpoints"):
            await connection.execute(DROP_ROWS.format(table=table), thread_id, names, ids)
        await connection.execute(DROP_BLOBS, thread_id)
        moved = [
            (ns, *(_surviving(state, ns, checkpoint_id, stays) for checkpoint_id in pair))
            for ns, pair in state.heads.items()
        ]
        await connection.execute(MOVE_HEADS, thread_id, *([row[column] for row in moved] for column in range(3)))


async def _read(connection: PoolConnectionProxy, thread_id: str) -> _State:
    shape = await connection.fetch(SHAPE, thread_id)
    heads = await connection.fetch(
        "SELECT checkpoint_ns, checkpoint_id, base_id FROM heads WHERE thread_id = $1", thread_id
    )
    placed = {(row["checkpoint_ns"], row["checkpoint_id"]): row for row in shape}
    return _State(
        parents={place: row["parent_checkpoint_id"] for place, row in placed.items()},
        runs={place: row["run_id"] for place, row in placed.items()},
        deltas={place for place, row in placed.items() if row["is_delta"]},
        heads={row["checkpoint_ns"]: (row["checkpoint_id"], row["base_id"]) for row in heads},
    )


def _surviving(state: _State, ns: str, checkpoint_id: str, stays: set[Place]) -> str:
    return next((id_ for place_ns, id_ in state.lineage(ns, checkpoint_id) if (place_ns, id_) in stays), "")
