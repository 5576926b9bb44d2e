from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from unbroken.adapters.memory.encoding import decode_effect, decode_trace
from unbroken.adapters.memory.tables import Effect, Marks, Session
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.audit import DeliveryMark
from unbroken.domain.effects import EffectClaim, EffectStatus, LogEntry
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.outbox import Ended, Outbox, Reached
from unbroken.domain.runs import ENDS
from unbroken.domain.utf16 import well_formed


class MemoryOutbox(Outbox):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self, thread_id: str, *, after: int, limit: int) -> Sequence[LogEntry]:
        def step(transaction: Transaction) -> list[LogEntry]:
            session = transaction.sessions.get(thread_id)
            if session is None:
                return []
            start = max(after, session.log_floor)
            return [session.entry(index) for index in range(start + 1, min(start + limit, session.log_index) + 1)]

        return await self._database.run("read", step)

    async def end_of(self, thread_id: str, seq: int) -> Ended | None:
        def step(transaction: Transaction) -> Ended | None:
            session = transaction.sessions.get(thread_id)
            rows = session.effects.values() if session else ()
            end = next((row for row in rows if row.event_seq == seq and row.type in ENDS), None)
            return Ended(decode_effect(end.body), end.checkpoint_id or None) if end else None

        return await self._database.run("end_of", step)

    async def mark(self, sent: Mapping[str, Reached], acked: Mapping[str, Reached]) -> None:
        def step(transaction: Transaction) -> None:
            for thread_id in {*sent, *acked}:
                session = transaction.sessions.get(thread_id)
                if session is not None and not session.deleted:
                    old = transaction.marks.get(thread_id) or Marks()
                    raised = [
                        *self._raised("sent", old.sent, sent.get(thread_id)),
                        *self._raised("acked", old.acked, acked.get(thread_id)),
                    ]
                    tops = {mark.mark: mark.upto for mark in raised}
                    new = Marks(tops.get("sent", old.sent), tops.get("acked", old.acked), (*old.raised, *raised))
                    transaction.marks.put(thread_id, new)

        await self._database.run("mark", step)

    def _raised(self, mark: Literal["sent", "acked"], above: int, reached: Reached | None) -> Iterator[DeliveryMark]:
        if reached is not None and reached.log_index > above:
            at = self._clock.now() - timedelta(seconds=reached.ago_s)
            yield DeliveryMark(mark, above, reached.log_index, at)

    async def claim(self, *, replica: int, limit: int, until_s: float) -> Sequence[EffectClaim]:
        def step(transaction: Transaction) -> list[EffectClaim]:
            now = self._clock.monotonic()
            claims: list[EffectClaim] = []
            for thread_id in self._database.owing:
                if len(claims) == limit:
                    break
                session = transaction.sessions.get(thread_id)
                if session is not None and (effect := _oldest(session)).due <= now:
                    claims.append(self._claimed(transaction, session, effect, replica, now, until_s))
            return claims

        return await self._database.run("claim_effects", step)

    def _claimed(
        self, transaction: Transaction, session: Session, effect: Effect, replica: int, now: float, until_s: float
    ) -> EffectClaim:
        wall = self._clock.now()
        row = replace(
            effect,
            status=EffectStatus.EXECUTING,
            attempt_count=effect.attempt_count + 1,
            last_attempt_at=wall,
            updated_at=wall,
            claimed_by=replica,
            claim_no=effect.claim_no + 1,
            claimed_until=now + until_s,
            due=now + until_s,
        )
        _put(transaction, session, row)
        return EffectClaim(
            thread_id=session.key.thread_id,
            event_seq=row.event_seq,
            ordinal=row.ordinal,
            body=decode_effect(row.body),
            dedupe_key=row.dedupe_key,
            claim_no=row.claim_no,
            attempt_count=row.attempt_count,
            created_at=row.created_at,
            trace_context=decode_trace(row.trace_context),
        )

    async def complete(self, claim: EffectClaim) -> bool:
        return await self._release("complete", claim, EffectStatus.COMPLETED, 0.0, None)

    async def postpone(self, claim: EffectClaim, *, retry_after_s: float | None, error: str | None = None) -> bool:
        status = EffectStatus.FAILED if retry_after_s is None else EffectStatus.PENDING
        words = well_formed(error) if error else None
        return await self._release("postpone", claim, status, retry_after_s or 0.0, words)

    async def revive(self, thread_id: str, effect_id: str) -> bool:
        def step(transaction: Transaction) -> bool:
            session = transaction.sessions.get(thread_id)
            rows = session.effects.values() if session else ()
            row = next((row for row in rows if row.id == effect_id and row.status is EffectStatus.FAILED), None)
            if session is None or row is None:
                return False
            now = self._clock.now()
            _put(
                transaction,
                session,
                replace(
                    row, status=EffectStatus.PENDING, updated_at=now, due=self._clock.monotonic(), claimed_until=0.0
                ),
            )
            return True

        return await self._database.run("revive", step)

    async def _release(
        self, operation: str, claim: EffectClaim, status: EffectStatus, pause_s: float, error: str | None
    ) -> bool:
        def step(transaction: Transaction) -> bool:
            session = transaction.sessions.get(claim.thread_id)
            effect = session.effects.get(claim.dedupe_key) if session else None
            if session is None or effect is None:
                return False
            if effect.claim_no != claim.claim_no or effect.status is not EffectStatus.EXECUTING:
                return False
            due = self._clock.monotonic() + pause_s
            row = replace(effect, status=status, updated_at=self._clock.now(), due=due, last_error=error)
            _put(transaction, session, row)
            return True

        return await self._database.run(operation, step)

    async def next_due(self) -> datetime | None:
        def step(transaction: Transaction) -> datetime | None:
            sessions = [transaction.sessions.get(thread_id) for thread_id in self._database.owing]
            due = min((_oldest(session).due for session in sessions if session is not None), default=None)
            if due is None:
                return None
            return self._clock.now() + timedelta(seconds=due - self._clock.monotonic())

        return await self._database.run("next_due", step)


def _oldest(session: Session) -> Effect:
    """The only effect of the session that may be executed now, or next: so their order holds."""
    return session.effects[session.owed[0]]


def _put(transaction: Transaction, session: Session, effect: Effect) -> None:
    effects = {**session.effects, effect.dedupe_key: effect}
    owed = {*session.owed, effect.dedupe_key}
    if effect.status in (EffectStatus.COMPLETED, EffectStatus.FAILED):
        owed.discard(effect.dedupe_key)
    transaction.put_session(replace(session, effects=effects, owed=tuple(key for key in effects if key in owed)))
