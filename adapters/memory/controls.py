from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.errors import AlreadyEnded, CancelKind, NotYourThread, ThreadDeleted, UnknownRequest
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.controls import Controls, Mark
from unbroken.domain.session import SessionKey


class MemoryControls(Controls):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def cancel(self, key: SessionKey, request_id: str, kind: CancelKind = "cancel") -> Mark:
        def step(transaction: Transaction) -> Mark:
            session = transaction.sessions.get(key.thread_id)
            if session is None:
                raise UnknownRequest(request_id)
            if session.key != key:
                raise NotYourThread(key.thread_id)
            if session.deleted:
                raise ThreadDeleted(key.thread_id)
            request = session.requests.get(request_id)
            if request is None:
                raise UnknownRequest(request_id)
            if request.seq <= session.applied_seq:
                raise AlreadyEnded(request_id)
            stands = session.controls.get(request.seq, kind)
            moments = {request.seq: self._clock.now(), **session.cancelled_at}
            controls = {**session.controls, request.seq: stands}
            transaction.put_session(replace(session, controls=controls, cancelled_at=moments))
            return Mark(key.thread_id, request.seq, stands)

        return await self._database.run("cancel", step)

    async def marked(self, *, replica: int) -> Sequence[Mark]:
        def step(transaction: Transaction) -> list[Mark]:
            found: list[Mark] = []
            for thread_id in self._database.unfinished:
                session = transaction.sessions.get(thread_id)
                if session and session.owner == replica and (kind := session.controls.get(session.applied_seq + 1)):
                    found.append(Mark(thread_id, session.applied_seq + 1, kind))
            return found

        return await self._database.run("marked", step)
