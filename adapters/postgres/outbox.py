from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import decode_effect, decode_logged, decode_trace, event_of
from unbroken.domain.effects import EffectClaim, LogEntry
from unbroken.domain.ports.outbox import Ended, Outbox, Reached
from unbroken.domain.runs import ENDS
from unbroken.domain.utf16 import well_formed

READ: Final = """
SELECT f.log_index, f.payload AS effect, f.trace_context AS carrier,
    e.seq, e.id, e.request_id, e.payload, e.created_at, e.trace_context
FROM effects f
CROSS JOIN LATERAL (SELECT * FROM events v WHERE v.thread_id = f.thread_id AND v.seq = f.event_seq LIMIT 1) e
WHERE f.thread_id = $1 AND f.log_index > $2
ORDER BY f.log_index LIMIT $3
"""

END_OF: Final = """
SELECT payload, checkpoint_id FROM effects
WHERE thread_id = $1 AND event_seq = $2 AND type = ANY ($3::text[]) ORDER BY ordinal LIMIT 1
"""

MARK: Final = """
WITH given AS (
    SELECT m.*, coalesce(d.sent, 0) AS former_sent, coalesce(d.acked, 0) AS former_acked
    FROM unnest($1::text[], $2::bigint[], $3::float8[], $4::bigint[], $5::float8[])
        m (thread_id, sent, sent_ago, acked, acked_ago)
    JOIN sessions s ON s.thread_id = m.thread_id AND s.deleted_at IS NULL
    LEFT JOIN deliveries d ON d.thread_id = m.thread_id
), raised AS (
    INSERT INTO deliveries AS d (thread_id, sent, acked)
    SELECT g.thread_id, g.sent, g.acked FROM given g
    -- Two processes marking the same sessions take their rows in the same order.
    ORDER BY g.thread_id
    ON CONFLICT (thread_id) DO UPDATE SET
        sent = greatest(d.sent, excluded.sent), acked = greatest(d.acked, excluded.acked)
    WHERE d.sent < excluded.sent OR d.acked < excluded.acked
    RETURNING d.thread_id
)
-- When, once for each time that a mark is raised. Another process may have raised it to the same place meanwhile.
INSERT INTO delivery_marks (thread_id, mark, upto, above, at)
SELECT g.thread_id, m.mark, m.upto, m.above, now() - make_interval(secs => m.ago)
FROM raised JOIN given g USING (thread_id) CROSS JOIN LATERAL (VALUES
    ('sent', g.sent, g.former_sent, g.sent_ago), ('acked', g.acked, g.former_acked, g.acked_ago)
) m (mark, upto, above, ago)
WHERE m.upto > m.above
ORDER BY g.thread_id, m.mark
ON CONFLICT DO NOTHING
"""

DUE_AT: Final = "coalesce(f.claimed_until, f.next_attempt_at)"
"""A claim that holds keeps its effect, and so its whole session, from being due."""

UNFINISHED: Final = "f.status IN ('pending', 'executing')"

OLDEST: Final = f"""
SELECT DISTINCT ON (f.thread_id) f.thread_id, f.event_seq, f.ordinal, {DUE_AT} AS due_at
FROM effects f WHERE {UNFINISHED}
ORDER BY f.thread_id, f.event_seq, f.ordinal
"""
"""Only a session's oldest may run. Locking "any free row" instead would hand out its second beside its first."""

CLAIM: Final = f"""
WITH oldest AS ({OLDEST}), taken AS (
    -- Whoever comes second finds the row locked and skips it, or changed, and then these conditions fail.
    SELECT f.thread_id, f.event_seq, f.ordinal FROM effects f
    JOIN oldest USING (thread_id, event_seq, ordinal)
    WHERE {UNFINISHED} AND {DUE_AT} <= now()
    ORDER BY oldest.due_at LIMIT $2
    FOR NO KEY UPDATE OF f SKIP LOCKED
)
UPDATE effects f SET
    status = 'executing', claimed_by = $1, claim_no = f.claim_no + 1,
    claimed_until = now() + make_interval(secs => $3),
    attempt_count = f.attempt_count + 1, last_attempt_at = now(), updated_at = now()
FROM taken t WHERE f.thread_id = t.thread_id AND f.event_seq = t.event_seq AND f.ordinal = t.ordinal
RETURNING f.thread_id, f.event_seq, f.ordinal, f.payload, f.dedupe_key, f.claim_no, f.attempt_count, f.created_at,
    f.trace_context
"""

RELEASE: Final = """
UPDATE effects SET status = $5, claimed_until = NULL, updated_at = now(),
    next_attempt_at = now() + make_interval(secs => $6), last_error = $7
WHERE thread_id = $1 AND event_seq = $2 AND ordinal = $3 AND claim_no = $4 AND status = 'executing'
RETURNING true
"""

REVIVE: Final = """
UPDATE effects SET status = 'pending', claimed_until = NULL, next_attempt_at = now(), updated_at = now()
WHERE thread_id = $1 AND id = $2 AND status = 'failed'
RETURNING true
"""

NEXT_DUE: Final = f"SELECT min(due_at) AS due_at FROM ({OLDEST}) oldest"


NOWHERE: Final = Reached(0)


class PostgresOutbox(Outbox):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, thread_id: str, *, after: int, limit: int) -> Sequence[LogEntry]:
        rows = await self._pool.read(READ, thread_id, after, limit)
        return [
            LogEntry(row["log_index"], event_of(row), decode_logged(row["effect"]), decode_trace(row["carrier"]))
            for row in rows
        ]

    async def end_of(self, thread_id: str, seq: int) -> Ended | None:
        rows = await self._pool.read(END_OF, thread_id, seq, list(ENDS))
        if not rows:
            return None
        return Ended(decode_effect(rows[0]["payload"]), rows[0]["checkpoint_id"] or None)

    async def mark(self, sent: Mapping[str, Reached], acked: Mapping[str, Reached]) -> None:
        threads = sorted({*sent, *acked})
        if threads:
            places = [marks.get(thread, NOWHERE) for marks in (sent, acked) for thread in threads]
            indexes, moments = [place.log_index for place in places], [place.ago_s for place in places]
            half = len(threads)
            await self._pool.write(MARK, threads, indexes[:half], moments[:half], indexes[half:], moments[half:])

    async def claim(self, *, replica: int, limit: int, until_s: float) -> Sequence[EffectClaim]:
        return [_claim_of(row) for row in await self._pool.write(CLAIM, replica, limit, until_s)]

    async def complete(self, claim: EffectClaim) -> bool:
        return await self._release(claim, "completed", 0.0, None)

    async def postpone(self, claim: EffectClaim, *, retry_after_s: float | None, error: str | None = None) -> bool:
        status = "failed" if retry_after_s is None else "pending"
        return await self._release(claim, status, retry_after_s or 0.0, well_formed(error) if error else None)

    async def revive(self, thread_id: str, effect_id: str) -> bool:
        return bool(await self._pool.write(REVIVE, thread_id, effect_id))

    async def next_due(self) -> datetime | None:
        (row,) = await self._pool.read(NEXT_DUE)
        due_at: datetime | None = row["due_at"]
        return due_at

    async def _release(self, claim: EffectClaim, status: str, pause_s: float, error: str | None) -> bool:
        place = (claim.thread_id, claim.event_seq, claim.ordinal, claim.claim_no)
        return bool(await self._pool.write(RELEASE, *place, status, pause_s, error))


def _claim_of(row: Row) -> EffectClaim:
    return EffectClaim(
        thread_id=row["thread_id"],
        event_seq=row["event_seq"],
        ordinal=row["ordinal"],
        body=decode_effect(row["payload"]),
        dedupe_key=row["dedupe_key"],
        claim_no=row["claim_no"],
        attempt_count=row["attempt_count"],
        created_at=row["created_at"],
        trace_context=decode_trace(row["trace_context"]),
    )
