from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import decode_body
from unbroken.domain.errors import NotYourThread, ThreadDeleted, TimedOut, UnknownRequest
from unbroken.domain.events import RunStart
from unbroken.domain.ports.runs import WITHIN, Runs
from unbroken.domain.runs import ENDS, NO_RUNS, Run, RunState


def _words(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


TOLD: Final = f"""
SELECT s.thread_id, s.agent_id, e.seq, e.id, e.request_id, e.payload, e.created_at, f.created_at AS ended_at,
    f.checkpoint_id, f.log_index, f.code, f.message,
    CASE WHEN f.type IS NOT NULL THEN f.attempt WHEN r.runs THEN s.run END AS attempt,
    CASE WHEN f.type IS NULL THEN CASE WHEN r.runs THEN 'running' ELSE 'pending' END
         WHEN f.type = 'send_message' THEN CASE WHEN f.waiting THEN 'asking' ELSE 'answered' END
         WHEN f.type = 'report_failure' THEN CASE WHEN f.code = '{TimedOut.code}' THEN 'timed_out' ELSE 'failed' END
         ELSE 'cancelled' END AS state
FROM sessions s
JOIN events e ON e.thread_id = s.thread_id AND e.type NOT IN ({_words(NO_RUNS)})
LEFT JOIN LATERAL (
    SELECT f.type, f.created_at, f.checkpoint_id, f.log_index,
        f.payload ->> 'code' AS code, f.payload ->> 'message' AS message,
        (f.payload ->> 'attempt')::bigint AS attempt, (f.payload -> 'waiting')::boolean AS waiting
    FROM effects f WHERE f.thread_id = e.thread_id AND f.event_seq = e.seq AND f.type IN ({_words(ENDS)})
    ORDER BY f.ordinal LIMIT 1) f ON true
CROSS JOIN LATERAL (SELECT s.tries > 0 AND e.seq = s.applied_seq + 1 AS runs) r
WHERE f.type IS DISTINCT FROM 'skip_event'
"""

OWNED: Final = "SELECT user_id, deleted_at FROM sessions WHERE thread_id = $1"

GET: Final = f"{TOLD} AND s.thread_id = $1 AND e.id = $2"

PAGE: Final = f"""
SELECT * FROM ({TOLD} AND s.thread_id = $1) t WHERE $2::text IS NULL OR t.state = $2
ORDER BY t.seq DESC OFFSET $3 LIMIT $4
"""

UNFINISHED: Final = f"""
{TOLD} AND s.user_id = $1 AND s.deleted_at IS NULL AND e.seq > s.applied_seq
ORDER BY s.thread_id COLLATE "C", e.seq LIMIT $2
"""

ASKING: Final = """
WITH RECURSIVE line AS (
    SELECT e.seq, e.type, e.payload FROM events e WHERE e.thread_id = $1 AND e.seq = $2
    UNION ALL
    SELECT e.seq, e.type, e.payload FROM line l
    JOIN events e ON e.thread_id = $1 AND e.seq < l.seq
        AND e.seq = substring(l.payload ->> 'interrupt_id' FROM ':([0-9]{1,15})$')::bigint
    WHERE l.type = 'input_response')
SELECT payload FROM line WHERE type = 'run_start'
"""

LATEST_START: Final = f"""
SELECT e.payload FROM (
    SELECT seq, type, payload FROM events
    WHERE thread_id = $1 AND ($2::bigint IS NULL OR seq < $2) ORDER BY seq DESC LIMIT {WITHIN}) e
WHERE e.type = 'run_start' ORDER BY e.seq DESC LIMIT 1
"""


class PostgresRuns(Runs):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, user_id: str, thread_id: str, run_id: str) -> Run:
        await self._check(user_id, thread_id)
        rows = await self._pool.read(GET, thread_id, run_id)
        if not rows:
            raise UnknownRequest(run_id)
        return _run(rows[0])

    async def page(
        self, user_id: str, thread_id: str, *, state: RunState | None = None, offset: int = 0, limit: int
    ) -> Sequence[Run]:
        await self._check(user_id, thread_id)
        return [_run(row) for row in await self._pool.read(PAGE, thread_id, state, offset, limit)]

    async def unfinished(self, user_id: str, *, limit: int) -> Sequence[Run]:
        return [_run(row) for row in await self._pool.read(UNFINISHED, user_id, limit)]

    async def asking(self, thread_id: str, seq: int) -> RunStart | None:
        return _start(await self._pool.read(ASKING, thread_id, seq))

    async def latest_start(self, thread_id: str, *, below: int | None = None) -> RunStart | None:
        return _start(await self._pool.read(LATEST_START, thread_id, below))

    async def _check(self, user_id: str, thread_id: str) -> None:
        """Whose a thread is never changes; one that is deleted after this has no events left to tell of."""
        rows = await self._pool.read(OWNED, thread_id)
        if not rows or rows[0]["user_id"] != user_id:
            raise NotYourThread(thread_id)
        if rows[0]["deleted_at"] is not None:
            raise ThreadDeleted(thread_id)


def _start(rows: Sequence[Row]) -> RunStart | None:
    body = decode_body(rows[0]["payload"]) if rows else None
    return body if isinstance(body, RunStart) else None


def _run(row: Row) -> Run:
    return Run(
        id=row["id"],
        thread_id=row["thread_id"],
        agent_id=row["agent_id"],
        seq=row["seq"],
        request_id=row["request_id"],
        body=decode_body(row["payload"]),
        created_at=row["created_at"],
        state=RunState(row["state"]),
        ended_at=row["ended_at"],
        attempt=row["attempt"],
        checkpoint_id=row["checkpoint_id"] or None,
        log_index=row["log_index"],
        code=row["code"],
        message=row["message"] if row["code"] is not None else None,
    )
