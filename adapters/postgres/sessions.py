from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from unbroken.adapters.postgres.pool import Pool
from unbroken.adapters.postgres.rows import claim_of, decode_body, decode_trace, event_of
from unbroken.domain.errors import ThreadDeleted
from unbroken.domain.events import Event
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim, Position, SessionKey, SessionView, Strays
from unbroken.domain.turn import Fork

CLAIM: Final = "SELECT * FROM unbroken_claim_v3($1, $2, $3)"

RELEASE: Final = """
UPDATE sessions s SET owner = NULL, attempts = jsonb_set(s.attempts, '{-1,released}', 'true')
WHERE s.thread_id = $1 AND s.owner = $2 AND s.epoch = $3 AND s.run = $4 AND s.applied_seq = $5 AND s.deleted_at IS NULL
RETURNING true
"""
"""The fence of a commit: of both at the same row the first one wins, and the other finds that its claim has moved on.
The attempt stays in `tries`, so that the index of what is unfinished holds the session; `unbroken_claim_v3` takes it
off."""

RELEASE_THREAD: Final = """
UPDATE sessions s SET owner = NULL WHERE s.thread_id = $1 AND s.owner = $2 AND s.deleted_at IS NULL RETURNING true
"""

VIEW: Final = """
SELECT s.user_id, s.agent_id, s.log_index, s.log_floor, s.applied_seq, s.run, s.owner, s.deleted_at,
    coalesce(d.acked, 0) AS acked,
    ARRAY(SELECT (e.seq, e.id, e.request_id, e.payload, e.created_at, e.trace_context)
          FROM events e WHERE e.thread_id = s.thread_id AND e.seq > s.applied_seq ORDER BY e.seq) AS pending
FROM sessions s LEFT JOIN deliveries d USING (thread_id)
WHERE s.thread_id = $1
"""

BEFORE: Final = """
WITH RECURSIVE place AS (
    SELECT e.seq, e.payload->>'replaces' AS replaces FROM events e WHERE e.thread_id = $1 AND e.request_id = $2
    UNION ALL
    SELECT e.seq, e.payload->>'replaces' FROM place p
    JOIN events e ON e.thread_id = $1 AND e.request_id = p.replaces AND e.seq < p.seq
), base AS (
    SELECT f.base_id FROM effects f
    WHERE f.thread_id = $1 AND f.event_seq = (SELECT min(p.seq) FROM place p) LIMIT 1
), root AS (
    SELECT b.base_id FROM base b
    WHERE b.base_id = '' OR EXISTS (
        SELECT FROM checkpoints c
        WHERE c.thread_id = $1 AND c.checkpoint_ns = '' AND c.checkpoint_id = b.base_id)
)
SELECT '' AS checkpoint_ns, r.base_id AS checkpoint_id FROM root r
UNION ALL
SELECT h.checkpoint_ns, coalesce((
    SELECT max(c.checkpoint_id) FROM checkpoints c
    WHERE c.thread_id = $1 AND c.checkpoint_ns = h.checkpoint_ns AND c.checkpoint_id < r.base_id), '')
FROM root r JOIN heads h ON h.thread_id = $1 AND h.checkpoint_ns <> ''
ORDER BY checkpoint_ns
"""

STRAYS: Final = """
WITH settled AS (
    -- Marks that a finishing commit has overtaken. An accept that wins the row first changes next_seq: then the
    -- condition, checked again on the new row, fails. Rows that somebody holds are for the next poll.
    UPDATE inbox SET waiting = false WHERE thread_id IN (
        SELECT i.thread_id FROM inbox i JOIN sessions s USING (thread_id)
        WHERE i.waiting AND (s.applied_seq = i.next_seq - 1 OR s.deleted_at IS NOT NULL)
        LIMIT 500 FOR NO KEY UPDATE OF i SKIP LOCKED)
), unfinished AS (
    SELECT s.thread_id, s.owner FROM sessions s WHERE s.tries > 0 AND s.deleted_at IS NULL
    UNION
    SELECT s.thread_id, s.owner FROM inbox i JOIN sessions s USING (thread_id)
    WHERE i.waiting AND s.applied_seq < i.next_seq - 1 AND s.deleted_at IS NULL
)
SELECT u.thread_id, u.owner IS NOT DISTINCT FROM $1 AS own,
    (SELECT count(*) FROM replicas r WHERE r.expires_at > now() AND r.id < $1) AS rank,
    (SELECT count(*) FROM replicas r WHERE r.expires_at > now() AND r.id IS NOT NULL) AS living
FROM unfinished u
WHERE u.owner = $1
    OR (NOT EXISTS (SELECT FROM replicas r WHERE r.id = u.owner AND r.expires_at > now())
        AND EXISTS (SELECT FROM replicas r WHERE r.id = $1 AND r.expires_at > now()))
LIMIT $2
"""
"""While nothing is wrong this reads two small partial indexes and writes nothing."""

BEHIND: Final = """
SELECT k.thread_id FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS k(thread_id, log_index, applied_seq, last_seq, run)
JOIN sessions s USING (thread_id) JOIN inbox i USING (thread_id)
WHERE (s.log_index > k.log_index OR s.applied_seq > k.applied_seq OR i.next_seq - 1 > k.last_seq OR s.run > k.run)
    AND s.deleted_at IS NULL
"""

ALONE: Final = """
SELECT CASE WHEN count(r.id) FILTER (WHERE r.id <> $1) = 0 THEN (SELECT i.last_value FROM replica_ids i) END AS joined
FROM replicas r
"""
"""Whoever has left has no id, and no commit of it passes the fence any more; who only lost its lease has one."""

STANDING: Final = """
SELECT s.thread_id, s.run FROM sessions s WHERE s.tries > 0 AND s.deleted_at IS NULL AND s.owner = $1
"""
"""Of the partial index of unfinished sessions, as STRAYS."""


class PostgresSessions(Sessions):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, thread_id: str, *, replica: int, because: str | None = None) -> Claim | None:
        (row,) = await self._pool.write(CLAIM, thread_id, replica, because)
        if not row["claimed"]:
            return None
        key = SessionKey(row["user_id"], row["agent_id"], thread_id)
        return claim_of(
            row,
            key,
            event_of(row),
            owner=replica,
            epoch=row["epoch"],
            tries=row["tries"],
            superseded=row["superseded"],
            taken_over=row["taken_over"],
            handed_over=row["handed_over"],
            cancel=row["cancel"],
        )

    async def release(self, claim: Claim) -> bool:
        held = (claim.key.thread_id, claim.owner, claim.epoch, claim.run, claim.applied_seq)
        return bool(await self._pool.write(RELEASE, *held))

    async def release_thread(self, thread_id: str, *, replica: int) -> bool:
        return bool(await self._pool.write(RELEASE_THREAD, thread_id, replica))

    async def view(self, thread_id: str) -> SessionView | None:
        rows = await self._pool.read(VIEW, thread_id)
        if not rows:
            return None
        (row,) = rows
        if row["deleted_at"] is not None:
            raise ThreadDeleted(thread_id, row["user_id"])
        return SessionView(
            key=SessionKey(row["user_id"], row["agent_id"], thread_id),
            log_index=row["log_index"],
            log_floor=row["log_floor"],
            acked=row["acked"],
            applied_seq=row["applied_seq"],
            run=row["run"],
            owner=row["owner"],
            pending=tuple(
                Event(seq, id_, request_id, decode_body(payload), created_at, decode_trace(trace))
                for seq, id_, request_id, payload, created_at, trace in row["pending"]
            ),
        )

    async def before(self, thread_id: str, request_id: str) -> Fork | None:
        rows = await self._pool.read(BEFORE, thread_id, request_id)
        return Fork(tuple((row["checkpoint_ns"], row["checkpoint_id"]) for row in rows)) if rows else None

    async def strays(self, *, replica: int, limit: int) -> Strays:
        rows = await self._pool.write(STRAYS, replica, limit)
        own = tuple(row["thread_id"] for row in rows if row["own"])
        left = tuple(row["thread_id"] for row in rows if not row["own"])
        return Strays(own, left, rows[0]["rank"], max(1, rows[0]["living"])) if rows else Strays()

    async def behind(self, known: Mapping[str, Position]) -> Sequence[str]:
        of = known.values()
        columns = [
            [p.log_index for p in of],
            [p.applied_seq for p in of],
            [p.last_seq for p in of],
            [p.run for p in of],
        ]
        return [row["thread_id"] for row in await self._pool.read(BEHIND, list(known), *columns)]

    async def alone(self, *, replica: int) -> int | None:
        (row,) = await self._pool.read(ALONE, replica)
        joined: int | None = row["joined"]
        return joined

    async def standing(self, *, replica: int) -> Mapping[str, int]:
        return {row["thread_id"]: row["run"] for row in await self._pool.read(STANDING, replica)}
