from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from unbroken.adapters.postgres.pool import Pool
from unbroken.adapters.postgres.rows import STATE_COLUMNS, encode_json, placeholders, state_arguments, stored_of
from unbroken.domain.checkpoints import StateChange, StoredCheckpoint
from unbroken.domain.ports.checkpoints import Checkpoints

PENDING_SENDS: Final = "__pregel_tasks"
"""The channel that checkpoints older than format 4 keep their sends in."""

SELECT: Final = """
SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.checkpoint, c.metadata,
    ARRAY(SELECT (b.channel, b.version, b.type, b.blob)
          FROM jsonb_each_text(c.checkpoint -> 'channel_versions') named (channel, version)
          -- One look-up a channel: LIMIT keeps the planner from reading every version of every channel instead.
          CROSS JOIN LATERAL (
              SELECT v.* FROM checkpoint_blobs v WHERE v.thread_id = c.thread_id AND v.checkpoint_ns = c.checkpoint_ns
              AND v.channel = named.channel AND v.version = named.version LIMIT 1) b
          ORDER BY b.channel) AS blobs,
    ARRAY(SELECT (w.task_id, w.task_path, w.idx, w.channel, w.type, w.blob)
          FROM checkpoint_writes w
          WHERE w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns AND w.checkpoint_id = c.checkpoint_id
          ORDER BY w.task_path COLLATE "C", w.task_id COLLATE "C", w.idx) AS writes
FROM checkpoints c
"""

LOAD: Final = f"{SELECT} WHERE c.thread_id = $1 AND c.checkpoint_ns = $2 AND c.checkpoint_id = $3"

LOAD_HEAD: Final = f"""{SELECT}
WHERE c.thread_id = $1 AND c.checkpoint_ns = $2 AND c.checkpoint_id = coalesce(
    (SELECT h.checkpoint_id FROM heads h WHERE h.thread_id = $1 AND h.checkpoint_ns = $2),
    (SELECT max(any_id.checkpoint_id) FROM checkpoints any_id
     WHERE any_id.thread_id = $1 AND any_id.checkpoint_ns = $2))
"""

SENDS: Final = """
SELECT w.type, w.blob FROM checkpoint_writes w
WHERE w.thread_id = $1 AND w.checkpoint_ns = $2 AND w.checkpoint_id = $3 AND w.channel = $4
ORDER BY w.task_path COLLATE "C", w.task_id COLLATE "C", w.idx
"""

PUT: Final = f"SELECT unbroken_put_v1({placeholders(1, 1 + STATE_COLUMNS)})"


class PostgresCheckpoints(Checkpoints):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        if checkpoint_id is None:
            rows = await self._pool.read(LOAD_HEAD, thread_id, checkpoint_ns)
        else:
            rows = await self._pool.read(LOAD, thread_id, checkpoint_ns, checkpoint_id)
        return stored_of(rows[0]) if rows else None

    async def history(
        self,
        thread_id: str | None,
        checkpoint_ns: str | None,
        *,
        before: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Sequence[StoredCheckpoint]:
        conditions = {
            "c.thread_id =": thread_id,
            "c.checkpoint_ns =": checkpoint_ns,
            "c.checkpoint_id <": before,
            "c.metadata @>": encode_json("metadata", metadata) if metadata else None,
        }
        wanted = {condition: value for condition, value in conditions.items() if value is not None}
        where = " AND ".join(f"{condition} ${number}" for number, condition in enumerate(wanted, 1))
        query = f"{SELECT} WHERE {where or 'true'} ORDER BY c.checkpoint_id DESC LIMIT ${len(wanted) + 1}"
        return [stored_of(row) for row in await self._pool.read(query, *wanted.values(), limit)]

    async def sends(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> Sequence[tuple[str, bytes]]:
        rows = await self._pool.read(SENDS, thread_id, checkpoint_ns, checkpoint_id, PENDING_SENDS)
        return [(row["type"], row["blob"]) for row in rows]

    async def put(self, thread_id: str, change: StateChange) -> None:
        await self._pool.write(PUT, thread_id, *state_arguments(change))
