from __future__ import annotations

from collections.abc import Sequence

from unbroken.adapters.memory.claims import count_attempt
from unbroken.adapters.memory.tables import Marks
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.errors import ThreadDeleted
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim, SessionView


class MemorySessions(Sessions):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def claim(self, thread_id: str, *, replica: int) -> Claim | None:
        def step(transaction: Transaction) -> Claim | None:
            session = transaction.sessions.get(thread_id)
            if session is None or session.deleted or not session.waiting:
                return None
            if session.owner != replica and transaction.alive(session.owner, self._clock.monotonic()):
                return None
            session, claim = count_attempt(transaction, session, replica)
            transaction.put_session(session)
            return claim

        return await self._database.run("claim", step)

    async def view(self, thread_id: str) -> SessionView | None:
        def step(transaction: Transaction) -> SessionView | None:
            session = transaction.sessions.get(thread_id)
            if session is None:
                return None
            if session.deleted:
                raise ThreadDeleted(thread_id)
            return SessionView(
                key=session.key,
                log_index=session.log_index,
                log_floor=session.log_floor,
                acked=(transaction.marks.get(thread_id) or Marks()).acked,
                applied_seq=session.applied_seq,
                run=session.run,
                pending=tuple(session.event(seq) for seq in range(session.applied_seq + 1, session.last_seq + 1)),
            )

        return await self._database.run("view", step)

    async def strays(self, *, replica: int, limit: int) -> Sequence[str]:
        def step(transaction: Transaction) -> list[str]:
            now = self._clock.monotonic()
            found: list[str] = []
            for thread_id in self._database.unfinished:
                session = transaction.sessions.get(thread_id)
                if session and (session.owner == replica or not transaction.alive(session.owner, now)):
                    found.append(thread_id)
                    if len(found) == limit:
                        break
            return found

        return await self._database.run("strays", step)
