from __future__ import annotations

from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.effects import EffectStatus
from unbroken.domain.ports.backlog import Backlog, Backlogs
from unbroken.domain.ports.clock import Clock


class MemoryBacklogs(Backlogs):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def measure(self, *, replica: int) -> Backlog:
        def step(transaction: Transaction) -> Backlog:
            sessions = [transaction.sessions.get(thread_id) for thread_id in self._database.unfinished]
            waiting = [
                session.event(seq).created_at
                for session in sessions
                if session is not None
                for seq in range(session.applied_seq + 1, session.last_seq + 1)
            ]
            owing = [transaction.sessions.get(thread_id) for thread_id in self._database.owing]
            statuses = [session.effects[key].status for session in owing if session for key in session.owed]
            dead = [
                effect
                for _, session in transaction.sessions.items()
                for effect in session.effects.values()
                if effect.status is EffectStatus.FAILED
            ]
            lease = transaction.leases.get(replica)
            return Backlog(
                events=len(waiting),
                oldest_event_s=max(0.0, (self._clock.now() - min(waiting)).total_seconds()) if waiting else 0.0,
                effects_pending=statuses.count(EffectStatus.PENDING),
                effects_executing=statuses.count(EffectStatus.EXECUTING),
                dead_letters=len(dead),
                lease_left_s=max(0.0, lease.expires - self._clock.monotonic()) if lease else 0.0,
            )

        return await self._database.run("measure", step)
