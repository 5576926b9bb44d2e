from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from unbroken.adapters.postgres.pool import Pool
from unbroken.adapters.postgres.rows import decode_json, decode_trace, encode_json
from unbroken.domain.ports.timers import DueTimer, Timers
from unbroken.domain.session import SessionKey

SCHEDULE: Final = "SELECT unbroken_schedule_v1($1, $2, $3, $4, $5, $6)"

STANDING: Final = """
FROM timers t JOIN sessions s USING (thread_id)
WHERE t.status = 'pending' AND s.deleted_at IS NULL
"""

DUE: Final = f"""
SELECT s.user_id, s.agent_id, s.thread_id, t.timer_id, t.generation, t.payload, (
    SELECT f.trace_context FROM effects f WHERE f.thread_id = t.thread_id AND f.dedupe_key = t.created_by
) AS carrier
{STANDING} AND t.fire_at <= now()
ORDER BY t.fire_at LIMIT $1
"""

NEXT_DUE: Final = f"""
SELECT extract(epoch FROM t.fire_at - now())::double precision AS seconds {STANDING} ORDER BY t.fire_at LIMIT 1
"""


class PostgresTimers(Timers):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def schedule(
        self, thread_id: str, timer_id: str, *, after_event: int, created_by: str, after_s: float, payload: Any
    ) -> None:
        encoded = encode_json("payload", payload)
        await self._pool.write(SCHEDULE, thread_id, timer_id, after_event, created_by, after_s, encoded)

    async def due(self, *, limit: int) -> Sequence[DueTimer]:
        return [
            DueTimer(
                SessionKey(row["user_id"], row["agent_id"], row["thread_id"]),
                row["timer_id"],
                row["generation"],
                decode_json(row["payload"]),
                decode_trace(row["carrier"]) if row["carrier"] else {},
            )
            for row in await self._pool.read(DUE, limit)
        ]

    async def next_due_s(self) -> float | None:
        rows = await self._pool.read(NEXT_DUE)
        return float(rows[0]["seconds"]) if rows else None
