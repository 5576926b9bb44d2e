from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from msgspec.structs import replace

from unbroken.adapters.memory.claims import count_attempt
from unbroken.adapters.memory.encoding import encode_json
from unbroken.adapters.memory.tables import Request, Session, Timer
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.errors import BodyConflict, Busy, CancelKind, NotYourThread, QueueFull, ThreadDeleted, TimerGone
from unbroken.domain.events import Event, NewEvent, RunStart, TimerFired, WhenBusy, body_hash
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.event_store import EventStore, Receipt
from unbroken.domain.session import SessionKey

MARKS: Mapping[WhenBusy, CancelKind] = {WhenBusy.INTERRUPT: "cancel", WhenBusy.ROLLBACK: "rollback"}


class MemoryEventStore(EventStore):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def accept(
        self,
        key: SessionKey,
        new: NewEvent,
        *,
        replica: int,
        queue_limit: int,
        when_busy: WhenBusy = WhenBusy.ENQUEUE,
    ) -> Receipt:
        def step(transaction: Transaction) -> Receipt:
            encode_json("body", new.body)
            digest = body_hash(new.body)
            session = transaction.session_of(key, self._clock.now())
            if known := self._known(session, key, new, digest):
                return known
            if session.waiting >= queue_limit:
                raise QueueFull(queue_limit)
            if session.waiting and when_busy is WhenBusy.REJECT:
                raise Busy
            seq = session.last_seq + 1
            now = self._clock.now()
            event = Event(seq, new.id, new.request_id, new.body, now, new.trace_context)
            received = None if new.waited_s is None else now - timedelta(seconds=new.waited_s)
            idle = not session.waiting
            session = replace(
                session,
                events=(*session.events, encode_json("event", event)),
                received=(*session.received, received),
                requests={**session.requests, new.request_id: Request(seq, digest)},
                last_user_seq=seq if new.from_user else session.last_user_seq,
                timers=_timers_after(session, new),
                controls=(controls := _controls_after(session, when_busy)),
                cancelled_at=dict.fromkeys(controls, now) | dict(session.cancelled_at),
            )
            claim = None
            if idle and (session.owner == replica or transaction.alive(replica, self._clock.monotonic())):
                session, claim = count_attempt(transaction, session, replica, now, "accepted")
            transaction.put_session(session)
            if isinstance(new.body, RunStart) and new.body.temporary:
                transaction.temporary.put(key.thread_id, True)
            return Receipt(session.event(seq), False, claim)

        return await self._database.run("accept", step)

    def _known(self, session: Session, key: SessionKey, new: NewEvent, digest: bytes) -> Receipt | None:
        """What was accepted under this request id before; raises whatever keeps `new` from the thread."""
        if session.key != key:
            raise NotYourThread(key.thread_id)
        if session.deleted:
            raise ThreadDeleted(key.thread_id)
        request = session.requests.get(new.request_id)
        if request is None:
            return None
        if request.body_hash != digest:
            raise BodyConflict(new.request_id, request.seq)
        return Receipt(session.event(request.seq), True, None)


def _controls_after(session: Session, when_busy: WhenBusy) -> Mapping[int, CancelKind]:
    """Every unfinished event is cancelled, if that is what the message is to do; an earlier mark stands."""
    kind = MARKS.get(when_busy)
    if kind is None:
        return session.controls
    return dict.fromkeys(range(session.applied_seq + 1, session.last_seq + 1), kind) | dict(session.controls)


def _timers_after(session: Session, new: NewEvent) -> Mapping[str, Timer]:
    """A user's event cancels what is pending; a fired timer is marked, if it still stands (I10)."""
    if new.from_user:
        return {
            timer_id: replace(timer, status="cancelled") if timer.pending else timer
            for timer_id, timer in session.timers.items()
        }
    if isinstance(new.body, TimerFired):
        timer = session.timers.get(new.body.timer_id)
        if timer is None or not timer.pending or timer.generation != new.body.generation:
            raise TimerGone(new.body.timer_id)
        return {**session.timers, timer.timer_id: replace(timer, status="fired")}
    return session.timers
