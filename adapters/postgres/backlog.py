from __future__ import annotations

from typing import Final

from unbroken.adapters.postgres.pool import Pool
from unbroken.domain.ports.backlog import Backlog, Backlogs

MEASURE: Final = """
WITH unfinished AS (
    SELECT s.thread_id, s.applied_seq FROM sessions s WHERE s.tries > 0 AND s.deleted_at IS NULL
    UNION
    SELECT s.thread_id, s.applied_seq FROM inbox i JOIN sessions s USING (thread_id)
    WHERE i.waiting AND s.deleted_at IS NULL
), waiting AS (
    SELECT e.created_at FROM unfinished u
    CROSS JOIN LATERAL (SELECT v.created_at FROM events v WHERE v.thread_id = u.thread_id AND v.seq > u.applied_seq) e
)
SELECT
    (SELECT count(*) FROM waiting) AS events,
    (SELECT extract(epoch FROM clock_timestamp() - min(w.created_at)) FROM waiting w)::double precision AS oldest_s,
    (SELECT count(*) FILTER (WHERE f.status = 'pending') FROM effects f
     WHERE f.status IN ('pending', 'executing')) AS pending,
    (SELECT count(*) FILTER (WHERE f.status = 'executing') FROM effects f
     WHERE f.status IN ('pending', 'executing')) AS executing,
    (SELECT count(*) FROM effects f WHERE f.status = 'failed') AS dead_letters,
    (SELECT extract(epoch FROM r.expires_at - clock_timestamp()) FROM replicas r WHERE r.id = $1)::double precision
        AS lease_left_s
"""


class PostgresBacklogs(Backlogs):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def measure(self, *, replica: int) -> Backlog:
        (row,) = await self._pool.read(MEASURE, replica)
        return Backlog(
            events=row["events"],
            oldest_event_s=max(0.0, row["oldest_s"] or 0.0),
            effects_pending=row["pending"],
            effects_executing=row["executing"],
            dead_letters=row["dead_letters"],
            lease_left_s=max(0.0, row["lease_left_s"] or 0.0),
        )
