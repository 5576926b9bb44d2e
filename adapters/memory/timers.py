from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from unbroken.adapters.memory.encoding import decode_json, decode_trace, encode_json
from unbroken.adapters.memory.tables import Session, Timer
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.timers import DueTimer, Timers


class MemoryTimers(Timers):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def schedule(
        self, thread_id: str, timer_id: str, *, after_event: int, created_by: str, after_s: float, payload: Any
    ) -> None:
        def step(transaction: Transaction) -> None:
            session = transaction.sessions.get(thread_id)
            if session is None or session.deleted:
                return
            old = session.timers.get(timer_id)
            setters = old.created_by if old else ()
            if created_by in setters:
                return
            timer = Timer(
                timer_id=timer_id,
                generation=old.generation + 1 if old else 1,
                status="cancelled" if session.last_user_seq > after_event else "pending",
                fire_at=self._clock.monotonic() + after_s,
                payload=encode_json("payload", payload),
                created_by=(*setters, created_by),
            )
            transaction.put_session(replace(session, timers={**session.timers, timer_id: timer}))

        await self._database.run("schedule", step)

    async def due(self, *, limit: int) -> Sequence[DueTimer]:
        def step(transaction: Transaction) -> list[DueTimer]:
            now = self._clock.monotonic()
            due = sorted(
                ((timer.fire_at, session, timer) for session, timer in self._pending(transaction)),
                key=lambda found: (found[0], found[1].key),
            )
            return [
                DueTimer(
                    session.key, timer.timer_id, timer.generation, decode_json(timer.payload), _carrier(session, timer)
                )
                for fire_at, session, timer in due[:limit]
                if fire_at <= now
            ]

        return await self._database.run("due", step)

    async def next_due_s(self) -> float | None:
        def step(transaction: Transaction) -> float | None:
            first = min((timer.fire_at for _, timer in self._pending(transaction)), default=None)
            return None if first is None else first - self._clock.monotonic()

        return await self._database.run("next_due_s", step)

    def _pending(self, transaction: Transaction) -> list[tuple[Session, Timer]]:
        return [
            (session, timer)
            for thread_id in self._database.armed
            if (session := transaction.sessions.get(thread_id)) is not None
            for timer in session.timers.values()
            if timer.pending
        ]


def _carrier(session: Session, timer: Timer) -> dict[str, str]:
    """Of the commit whose effect set it; a timer may also be set without one."""
    effect = session.effects.get(timer.created_by[-1])
    return decode_trace(effect.trace_context) if effect else {}
