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
), events AS (
    SELECT e.created_at FROM unfinished u
    CROSS JOIN LATERAL (SELECT v.created_at FROM events v WHERE v.thread_id = u.thread_id AND v.seq > u.applied_seq) e
), effects AS (
    SELECT f.status FROM effects f WHERE f.status IN ('pending', 'executing')
)
SELECT
    (SELECT count(*) FROM events) AS events,
    (SELECT extract(epoch FROM clock_timestamp() - min(e.created_at)) FROM events e)::double precision AS oldest_s,
    (SELECT count(*) FROM effects f WHERE f.status = 'pending') AS pending,
    (SELECT count(*) FROM effects f WHERE f.status = 'executing') AS executing,
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
            lease_left_s=max(0.0, row["lease_left_s"] or 0.0),
        )
