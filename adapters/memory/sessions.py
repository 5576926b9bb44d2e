from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from unbroken.adapters.memory.claims import count_attempt
from unbroken.adapters.memory.tables import AgentState, Marks, Session
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.errors import ThreadDeleted
from unbroken.domain.events import UserMessage
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim, Position, SessionView, Strays
from unbroken.domain.turn import Fork


class MemorySessions(Sessions):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def claim(self, thread_id: str, *, replica: int, because: str | None = None) -> Claim | None:
        def step(transaction: Transaction) -> Claim | None:
            session = transaction.sessions.get(thread_id)
            if session is None or session.deleted or not session.waiting:
                return None
            if not _may_take(transaction, session, replica, self._clock.monotonic()):
                return None
            session, claim = count_attempt(transaction, session, replica, self._clock.now(), because=because)
            transaction.put_session(session)
            return claim

        return await self._database.run("claim", step)

    async def release(self, claim: Claim) -> bool:
        def step(transaction: Transaction) -> bool:
            session = transaction.sessions.get(claim.key.thread_id)
            if session is None or session.deleted:
                return False
            held = (claim.owner, claim.epoch, claim.run, claim.applied_seq)
            if held != (session.owner, session.epoch, session.run, session.applied_seq):
                return False
            *earlier, last = session.attempts
            attempts = (*earlier, replace(last, released=True))
            transaction.put_session(replace(session, owner=None, attempts=attempts))
            return True

        return await self._database.run("release", step)

    async def release_thread(self, thread_id: str, *, replica: int) -> bool:
        def step(transaction: Transaction) -> bool:
            session = transaction.sessions.get(thread_id)
            if session is None or session.deleted or session.owner != replica:
                return False
            transaction.put_session(replace(session, owner=None))
            return True

        return await self._database.run("release", step)

    async def view(self, thread_id: str) -> SessionView | None:
        def step(transaction: Transaction) -> SessionView | None:
            session = transaction.sessions.get(thread_id)
            if session is None:
                return None
            if session.deleted:
                raise ThreadDeleted(thread_id, session.key.user_id)
            return SessionView(
                key=session.key,
                log_index=session.log_index,
                log_floor=session.log_floor,
                acked=(transaction.marks.get(thread_id) or Marks()).acked,
                applied_seq=session.applied_seq,
                run=session.run,
                owner=session.owner,
                pending=tuple(session.event(seq) for seq in range(session.applied_seq + 1, session.last_seq + 1)),
            )

        return await self._database.run("view", step)

    async def before(self, thread_id: str, request_id: str) -> Fork | None:
        def step(transaction: Transaction) -> Fork | None:
            session = transaction.sessions.get(thread_id)
            seq = first_of(session, request_id) if session else None
            state = transaction.agent_states.get(thread_id) or AgentState()
            if session is None or seq is None:
                return None
            base = next((row.base_id for row in session.effects.values() if row.event_seq == seq), None)
            if base is None or (base and (ROOT, base) not in state.checkpoints):
                return None
            others = sorted(ns for ns in state.heads if ns != ROOT)
            return Fork(((ROOT, base), *((ns, state.highest(ns, below=base)) for ns in others)))

        return await self._database.run("before", step)

    async def strays(self, *, replica: int, limit: int) -> Strays:
        def step(transaction: Transaction) -> Strays:
            now = self._clock.monotonic()
            found: dict[bool, list[str]] = {True: [], False: []}
            for thread_id in self._database.unfinished:
                session = transaction.sessions.get(thread_id)
                if session and _may_take(transaction, session, replica, now):
                    found[session.owner == replica].append(thread_id)
                    if len(found[True]) + len(found[False]) == limit:
                        break
            living = [id_ for id_, lease in transaction.leases.items() if lease.expires > now]
            rank = sum(id_ < replica for id_ in living)
            return Strays(tuple(found[True]), tuple(found[False]), rank, max(1, len(living)))

        return await self._database.run("strays", step)

    async def behind(self, known: Mapping[str, Position]) -> Sequence[str]:
        def step(transaction: Transaction) -> list[str]:
            found: list[str] = []
            for thread_id, position in known.items():
                session = transaction.sessions.get(thread_id)
                if session is None or session.deleted:
                    continue
                stored = (session.log_index, session.applied_seq, session.last_seq, session.run)
                seen = (position.log_index, position.applied_seq, position.last_seq, position.run)
                if any(more > less for more, less in zip(stored, seen, strict=True)):
                    found.append(thread_id)
            return found

        return await self._database.run("behind", step)

    async def alone(self, *, replica: int) -> int | None:
        def step(transaction: Transaction) -> int | None:
            others = any(id_ != replica for id_, _ in transaction.leases.items())
            return None if others else sum(boot for _, boot in transaction.boots.items())

        return await self._database.run("alone", step)

    async def standing(self, *, replica: int) -> Mapping[str, int]:
        def step(transaction: Transaction) -> dict[str, int]:
            sessions = map(transaction.sessions.get, self._database.unfinished)
            return {s.key.thread_id: s.run for s in sessions if s and s.tries and s.owner == replica and not s.deleted}

        return await self._database.run("standing", step)


def _may_take(transaction: Transaction, session: Session, replica: int, now: float) -> bool:
    if session.owner == replica:
        return True
    return not transaction.alive(session.owner, now) and transaction.alive(replica, now)


def first_of(session: Session, request_id: str) -> int | None:
    """The `seq` of the message that stood first where this request's message stands."""
    request = session.requests.get(request_id)
    while request is not None:
        body = session.event(request.seq).body
        earlier = session.requests.get(body.replaces or "") if isinstance(body, UserMessage) else None
        if earlier is None or earlier.seq >= request.seq:
            return request.seq
        request = earlier
    return None
