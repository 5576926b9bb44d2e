"""What is unfinished, due or given up, over all sessions: for people, and never part of a turn."""

from __future__ import annotations

from typing import Final

import msgspec

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.domain.audit import AttemptNote
from unbroken.domain.diagnosis import DueTimer, OwedEffect, StoreFacts, UnfinishedEvent
from unbroken.domain.session import SessionKey

STORE: Final = (
    "SELECT now() AS now, (SELECT count(*) FROM replicas r WHERE r.expires_at > now() AND r.id IS NOT NULL) AS alive"
)

EVENTS: Final = """
WITH unfinished AS (
    SELECT s.thread_id FROM sessions s WHERE s.tries > 0 AND s.deleted_at IS NULL
    UNION
    SELECT i.thread_id FROM inbox i JOIN sessions s USING (thread_id)
    WHERE i.waiting AND s.applied_seq < i.next_seq - 1 AND s.deleted_at IS NULL
)
SELECT s.user_id, s.agent_id, s.thread_id, e.seq, e.request_id, e.created_at, i.next_seq - 1 - s.applied_seq AS waiting,
    s.tries - (SELECT count(*) FROM jsonb_array_elements(s.attempts) n (note) WHERE (n.note ->> 'released')::boolean)
        AS tries,
    s.run, s.attempts -> -1 AS attempt, c.created_at AS cancelled_at, r.name AS owner,
    r.expires_at AS lease_until
FROM unfinished u JOIN sessions s USING (thread_id) JOIN inbox i USING (thread_id)
JOIN events e ON e.thread_id = s.thread_id AND e.seq = s.applied_seq + 1
LEFT JOIN controls c ON c.thread_id = e.thread_id AND c.seq = e.seq
LEFT JOIN replicas r ON r.id = s.owner
WHERE e.created_at < now() - make_interval(secs => $1)
ORDER BY e.created_at LIMIT $2
"""

OVERDUE: Final = """
SELECT s.user_id, s.agent_id, s.thread_id, f.id, f.type, coalesce(f.claimed_until, f.next_attempt_at) AS since,
    f.attempt_count, f.last_error
FROM effects f JOIN sessions s USING (thread_id)
WHERE f.status IN ('pending', 'executing')
    AND coalesce(f.claimed_until, f.next_attempt_at) < now() - make_interval(secs => $1)
    AND NOT EXISTS (
        SELECT FROM effects o WHERE o.thread_id = f.thread_id AND o.status IN ('pending', 'executing')
            AND (o.event_seq, o.ordinal) < (f.event_seq, f.ordinal))
ORDER BY since LIMIT $2
"""
"""Only a session's oldest may run: what is behind it waits for its turn."""

DEAD: Final = """
SELECT s.user_id, s.agent_id, s.thread_id, f.id, f.type, f.updated_at AS since, f.attempt_count, f.last_error
FROM effects f JOIN sessions s USING (thread_id) WHERE f.status = 'failed' ORDER BY since LIMIT $1
"""

TIMERS: Final = """
SELECT s.user_id, s.agent_id, s.thread_id, t.timer_id, t.fire_at
FROM timers t JOIN sessions s USING (thread_id)
WHERE t.status = 'pending' AND t.fire_at < now() - make_interval(secs => $1) ORDER BY t.fire_at LIMIT $2
"""

decode_note = msgspec.json.Decoder(AttemptNote).decode


async def look(pool: Pool, *, older_s: float, limit: int) -> StoreFacts:
    (store,) = await pool.read(STORE)
    return StoreFacts(
        now=store["now"],
        replicas_alive=store["alive"],
        unfinished=tuple(_event(row) for row in await pool.read(EVENTS, older_s, limit)),
        overdue=tuple(_effect(row) for row in await pool.read(OVERDUE, older_s, limit)),
        dead_letters=tuple(_effect(row) for row in await pool.read(DEAD, limit)),
        timers=tuple(
            DueTimer(_key(row), row["timer_id"], row["fire_at"]) for row in await pool.read(TIMERS, older_s, limit)
        ),
    )


def _event(row: Row) -> UnfinishedEvent:
    note = decode_note(row["attempt"]) if row["tries"] and row["attempt"] is not None else None
    if note is not None and note.run != row["run"]:
        note = None  # of an earlier attempt: whoever counted this one noted nothing
    return UnfinishedEvent(
        key=_key(row),
        seq=row["seq"],
        request_id=row["request_id"],
        accepted_at=row["created_at"],
        waiting=row["waiting"],
        tries=row["tries"],
        run=row["run"],
        attempt_at=note.at if note else None,
        why=note.why if note else None,
        because=note.because if note else None,
        cancelled_at=row["cancelled_at"],
        owner=row["owner"],
        lease_until=row["lease_until"],
    )


def _effect(row: Row) -> OwedEffect:
    return OwedEffect(_key(row), row["id"], row["type"], row["since"], row["attempt_count"], row["last_error"])


def _key(row: Row) -> SessionKey:
    return SessionKey(row["user_id"], row["agent_id"], row["thread_id"])
