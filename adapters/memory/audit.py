from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from unbroken.adapters.memory.encoding import decode_checkpoint, decode_effect, decode_json
from unbroken.adapters.memory.tables import AgentState, Effect, Head, Marks, Session
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.audit import CheckpointFact, EffectFact, EventFacts, SessionFacts, with_checkpoints
from unbroken.domain.checkpoints import ROOT, CheckpointRow
from unbroken.domain.diagnosis import DueTimer, OwedEffect, StoreFacts, UnfinishedEvent
from unbroken.domain.effects import EffectStatus
from unbroken.domain.ports.audit import Audit
from unbroken.domain.ports.clock import Clock


class MemoryAudit(Audit):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def session(
        self, thread_id: str, *, before: int | None = None, limit: int, request_id: str | None = None
    ) -> SessionFacts | None:
        def step(transaction: Transaction) -> SessionFacts | None:
            session = transaction.sessions.get(thread_id)
            if session is None or session.deleted:
                return None
            below = session.last_seq + 1 if before is None else min(before, session.last_seq + 1)
            seqs = [seq for seq in range(1, below) if request_id is None or session.event(seq).request_id == request_id]
            marks = transaction.marks.get(thread_id) or Marks()
            lease = transaction.leases.get(session.owner) if session.owner is not None else None
            return SessionFacts(
                key=session.key,
                created_at=session.created_at,
                now=self._clock.now(),
                owner=session.owner,
                owner_name=lease.name if lease else None,
                owner_alive=transaction.alive(session.owner, self._clock.monotonic()),
                epoch=session.epoch,
                applied_seq=session.applied_seq,
                log_index=session.log_index,
                sent=marks.sent,
                acked=marks.acked,
                events=tuple(_events(transaction, session, marks, seqs[-limit:])),
                earlier=len(seqs) > limit,
            )

        return await self._database.run("audit", step)

    async def trouble(self, *, older_s: float, limit: int) -> StoreFacts:
        def step(transaction: Transaction) -> StoreFacts:
            sessions = [session for _, session in transaction.sessions.items() if not session.deleted]
            oldest = self._clock.now() - timedelta(seconds=older_s)
            owed = [(session, session.effects[session.owed[0]]) for session in sessions if session.owed]
            dead = [(s, row) for s in sessions for row in s.effects.values() if row.status is EffectStatus.FAILED]
            overdue = [self._owed(s, row, self._wall(row.due) if row.due else row.created_at) for s, row in owed]
            given_up = [self._owed(session, row, row.updated_at) for session, row in dead]
            timers = [
                DueTimer(session.key, timer.timer_id, self._wall(timer.fire_at))
                for session in sessions
                for timer in session.timers.values()
                if timer.pending
            ]
            waiting = [self._unfinished(transaction, session) for session in sessions if session.waiting]
            now = self._clock.monotonic()
            return StoreFacts(
                now=self._clock.now(),
                replicas_alive=sum(lease.expires > now for _, lease in transaction.leases.items()),
                unfinished=tuple(
                    sorted((e for e in waiting if e.accepted_at < oldest), key=lambda e: e.accepted_at)[:limit]
                ),
                overdue=tuple(sorted((e for e in overdue if e.since < oldest), key=lambda e: e.since)[:limit]),
                dead_letters=tuple(sorted(given_up, key=lambda e: e.since)[:limit]),
                timers=tuple(sorted((t for t in timers if t.fire_at < oldest), key=lambda t: t.fire_at)[:limit]),
            )

        return await self._database.run("trouble", step)

    def _wall(self, monotonic: float) -> datetime:
        return self._clock.now() + timedelta(seconds=monotonic - self._clock.monotonic())

    def _owed(self, session: Session, row: Effect, since: datetime) -> OwedEffect:
        return OwedEffect(session.key, row.id, row.type, since, row.attempt_count, row.last_error)

    def _unfinished(self, transaction: Transaction, session: Session) -> UnfinishedEvent:
        event = session.event(session.applied_seq + 1)
        note = session.attempts[-1] if session.tries and session.attempts else None
        lease = transaction.leases.get(session.owner) if session.owner is not None else None
        return UnfinishedEvent(
            key=session.key,
            seq=event.seq,
            request_id=event.request_id,
            accepted_at=event.created_at,
            waiting=session.waiting,
            tries=session.tries - sum(attempt.released for attempt in session.attempts if session.tries),
            run=session.run,
            attempt_at=note.at if note else None,
            why=note.why if note else None,
            because=note.because if note else None,
            cancelled_at=session.cancelled_at.get(event.seq),
            owner=lease.name if lease else None,
            lease_until=self._wall(lease.expires) if lease else None,
        )


def _events(transaction: Transaction, session: Session, marks: Marks, seqs: list[int]) -> Iterator[EventFacts]:
    rows: dict[int, list[Effect]] = {}
    for row in session.effects.values():
        rows.setdefault(row.event_seq, []).append(row)
    state = transaction.agent_states.get(session.key.thread_id) or AgentState()
    made = [_checkpoint(decode_checkpoint(encoded)) for encoded in state.checkpoints.values()]
    for seq in seqs:
        yield with_checkpoints(_event(session, marks, seq, rows.get(seq, []), state.heads.get(ROOT)), made)


def _event(session: Session, marks: Marks, seq: int, rows: list[Effect], head: Head | None) -> EventFacts:
    """Of an event that has ended, its first effect tells; of the one that runs, the session's row."""
    event = session.event(seq)
    runs = not rows and session.tries > 0 and seq == session.applied_seq + 1
    moved = runs and session.head_event == seq
    bodies = [decode_json(row.body) for row in rows]
    ended_by = next((body["attempt"] for body in bodies if body.get("attempt") is not None), None)
    return EventFacts(
        seq=seq,
        id=event.id,
        request_id=event.request_id,
        type=str(event.body.__struct_config__.tag),
        received_at=session.received[seq - 1],
        accepted_at=event.created_at,
        trace_context=event.trace_context,
        run=session.run if runs else ended_by,
        tries=session.tries if runs else None,
        attempts=rows[0].attempts if rows else session.attempts if runs else (),
        cancelled_at=rows[0].cancelled_at if rows else session.cancelled_at.get(seq),
        cancel=session.controls.get(seq),
        effects=tuple(_effect(row, marks) for row in rows),
        base_id=rows[0].base_id if rows else head.base_id if head and moved else None,
        head_id=rows[0].checkpoint_id if rows else head.checkpoint_id if head and moved else None,
    )


def _effect(row: Effect, marks: Marks) -> EffectFact:
    index = row.log_index
    if index is None:
        status = row.status
    elif index <= marks.acked:
        status = EffectStatus.COMPLETED
    else:
        status = EffectStatus.EXECUTING if index <= marks.sent else EffectStatus.PENDING
    return EffectFact(
        id=row.id,
        ordinal=row.ordinal,
        type=row.type,
        log_index=index,
        status=status,
        created_at=row.created_at,
        updated_at=row.updated_at,
        checkpoint_id=row.checkpoint_id,
        base_id=row.base_id,
        tries=row.attempt_count,
        last_error=row.last_error,
        code=getattr(decode_effect(row.body), "code", None),
        body=decode_json(row.body) if index is None else None,
        sent_at=_raised_at(marks, "sent", index),
        acked_at=_raised_at(marks, "acked", index),
    )


def _raised_at(marks: Marks, mark: str, index: int | None) -> datetime | None:
    found = (one.at for one in marks.raised if one.mark == mark and index is not None and one.above < index <= one.upto)
    return next(found, None)


def _checkpoint(row: CheckpointRow) -> CheckpointFact:
    checkpoint: dict[str, Any] = decode_json(row.checkpoint)
    metadata: dict[str, Any] = decode_json(row.metadata)
    return CheckpointFact(
        checkpoint_ns=row.checkpoint_ns,
        checkpoint_id=row.checkpoint_id,
        parent_id=row.parent_id,
        at=_moment(checkpoint.get("ts")),
        step=_number(metadata.get("step")),
        source=metadata.get("source"),
        root_id=(metadata.get("parents") or {}).get(""),
    )


def _moment(text: Any) -> datetime | None:
    """A checkpoint's time, whoever wrote it; None: it is none."""
    try:
        return msgspec.convert(text, datetime) if text else None
    except msgspec.ValidationError:
        return None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
