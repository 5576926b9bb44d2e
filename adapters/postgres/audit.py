from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import decode_json, decode_trace
from unbroken.adapters.postgres.trouble import look
from unbroken.domain.audit import AttemptNote, CheckpointFact, EffectFact, EventFacts, SessionFacts, with_checkpoints
from unbroken.domain.diagnosis import StoreFacts
from unbroken.domain.effects import EffectStatus
from unbroken.domain.ports.audit import Audit
from unbroken.domain.session import SessionKey

SESSION: Final = """
SELECT s.user_id, s.agent_id, s.created_at, now() AS now, s.owner, s.epoch, s.applied_seq, s.run, s.tries, s.log_index,
    s.attempts, s.head_event, h.checkpoint_id AS head, h.base_id AS base,
    r.name AS owner_name, coalesce(r.expires_at > now(), false) AS owner_alive,
    coalesce(d.sent, 0) AS sent, coalesce(d.acked, 0) AS acked
FROM sessions s LEFT JOIN replicas r ON r.id = s.owner LEFT JOIN deliveries d USING (thread_id)
LEFT JOIN heads h ON h.thread_id = s.thread_id AND h.checkpoint_ns = ''
WHERE s.thread_id = $1 AND s.deleted_at IS NULL
"""

EVENTS: Final = """
SELECT e.seq, e.id, e.request_id, e.type, e.received_at, e.created_at, e.trace_context,
    c.kind AS cancel, c.created_at AS cancelled_at
FROM events e LEFT JOIN controls c USING (thread_id, seq)
WHERE e.thread_id = $1 AND e.seq < coalesce($2, 9223372036854775807) AND ($4::text IS NULL OR e.request_id = $4)
ORDER BY e.seq DESC LIMIT $3
"""

RAISED_AT: Final = """(
    SELECT CASE WHEN m.above < f.log_index THEN m.at END FROM delivery_marks m
    WHERE m.thread_id = f.thread_id AND m.mark = '{mark}' AND m.upto >= f.log_index ORDER BY m.upto LIMIT 1)"""
"""The marks cover the log without overlapping; what was marked before they were kept lies in none of them."""

EFFECTS: Final = f"""
SELECT f.event_seq, f.ordinal, f.id, f.type, f.log_index, f.status, f.created_at, f.updated_at, f.checkpoint_id,
    f.base_id, f.attempt_count, f.last_error, f.attempts, f.cancelled_at,
    (f.payload ->> 'attempt')::bigint AS attempt, f.payload ->> 'code' AS code,
    CASE WHEN f.log_index IS NULL THEN f.payload END AS body,
    {RAISED_AT.format(mark="sent")} AS sent_at, {RAISED_AT.format(mark="acked")} AS acked_at
FROM effects f WHERE f.thread_id = $1 AND f.event_seq BETWEEN $2 AND $3
ORDER BY f.event_seq, f.ordinal
"""

CHECKPOINTS: Final = """
SELECT c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.checkpoint ->> 'ts' AS ts,
    c.metadata -> 'step' AS step, c.metadata ->> 'source' AS source, c.metadata -> 'parents' ->> '' AS root_id
FROM checkpoints c WHERE c.thread_id = $1
ORDER BY c.checkpoint_id DESC LIMIT 2000
"""
"""Those that nothing goes back to any more are pruned, so a thread has not many."""

decode_notes = msgspec.json.Decoder(tuple[AttemptNote, ...]).decode


class PostgresAudit(Audit):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def session(
        self, thread_id: str, *, before: int | None = None, limit: int, request_id: str | None = None
    ) -> SessionFacts | None:
        sessions = await self._pool.read(SESSION, thread_id)
        if not sessions:
            return None
        (session,) = sessions
        rows = await self._pool.read(EVENTS, thread_id, before, limit + 1, request_id)
        page = rows[:limit][::-1]
        return SessionFacts(
            key=SessionKey(session["user_id"], session["agent_id"], thread_id),
            created_at=session["created_at"],
            now=session["now"],
            owner=session["owner"],
            owner_name=session["owner_name"],
            owner_alive=session["owner_alive"],
            epoch=session["epoch"],
            applied_seq=session["applied_seq"],
            log_index=session["log_index"],
            sent=session["sent"],
            acked=session["acked"],
            events=await self._events(thread_id, session, page) if page else (),
            earlier=len(rows) > limit,
        )

    async def trouble(self, *, older_s: float, limit: int) -> StoreFacts:
        return await look(self._pool, older_s=older_s, limit=limit)

    async def _events(self, thread_id: str, session: Row, page: Sequence[Row]) -> tuple[EventFacts, ...]:
        bounds = (page[0]["seq"], page[-1]["seq"])
        effects: dict[int, list[Row]] = {}
        for row in await self._pool.read(EFFECTS, thread_id, *bounds):
            effects.setdefault(row["event_seq"], []).append(row)
        made = [_checkpoint(row) for row in await self._pool.read(CHECKPOINTS, thread_id)]
        events = [_event(row, session, effects.get(row["seq"], [])) for row in page]
        return tuple(with_checkpoints(event, made) for event in events)


def _event(event: Row, session: Row, effects: Sequence[Row]) -> EventFacts:
    """Of an event that has ended, its first effect tells; of the one that runs, the session's row."""
    told = effects[0] if effects else None
    runs = told is None and session["tries"] > 0 and event["seq"] == session["applied_seq"] + 1
    moved = runs and session["head_event"] == event["seq"]
    noted = told["attempts"] if told is not None else session["attempts"] if runs else None
    notes = decode_notes(noted) if noted is not None else ()
    run, tries = (session["run"], session["tries"]) if runs else (None, None)
    if told is not None:
        run = next((row["attempt"] for row in effects if row["attempt"] is not None), None)
    if tries is not None:
        notes = tuple(note for note in notes if note.run > session["run"] - tries)
    return EventFacts(
        seq=event["seq"],
        id=event["id"],
        request_id=event["request_id"],
        type=event["type"],
        received_at=event["received_at"],
        accepted_at=event["created_at"],
        trace_context=decode_trace(event["trace_context"]),
        run=run,
        tries=tries,
        attempts=notes,
        cancelled_at=told["cancelled_at"] if told is not None else event["cancelled_at"],
        cancel=event["cancel"],
        effects=tuple(_effect(row, session) for row in effects),
        base_id=told["base_id"] if told is not None else session["base"] if moved else None,
        head_id=told["checkpoint_id"] if told is not None else session["head"] if moved else None,
    )


def _effect(row: Row, session: Row) -> EffectFact:
    index = row["log_index"]
    if index is None:
        status = EffectStatus(row["status"])
    elif index <= session["acked"]:
        status = EffectStatus.COMPLETED
    else:
        status = EffectStatus.EXECUTING if index <= session["sent"] else EffectStatus.PENDING
    return EffectFact(
        id=row["id"],
        ordinal=row["ordinal"],
        type=row["type"],
        log_index=index,
        status=status,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        checkpoint_id=row["checkpoint_id"],
        base_id=row["base_id"],
        tries=row["attempt_count"],
        last_error=row["last_error"],
        code=row["code"],
        body=None if row["body"] is None else decode_json(row["body"]),
        sent_at=row["sent_at"],
        acked_at=row["acked_at"],
    )


def _checkpoint(row: Row) -> CheckpointFact:
    return CheckpointFact(
        checkpoint_ns=row["checkpoint_ns"],
        checkpoint_id=row["checkpoint_id"],
        parent_id=row["parent_checkpoint_id"],
        at=moment(row["ts"]),
        step=_number(row["step"]),
        source=row["source"],
        root_id=row["root_id"],
    )


def moment(text: str | None) -> datetime | None:
    """A checkpoint's time, whoever wrote it; None: it is none."""
    try:
        return msgspec.convert(text, datetime) if text else None
    except msgspec.ValidationError:
        return None


def _number(value: bytes | None) -> int | None:
    found: Any = None if value is None else decode_json(value)
    return found if isinstance(found, int) else None
