from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from unbroken.adapters.memory.encoding import decode_json
from unbroken.adapters.memory.tables import File, Session
from unbroken.adapters.memory.threads import entomb, last_activity
from unbroken.adapters.memory.transactions import Database, Transaction, digest
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.user_data import Expired, UserData
from unbroken.domain.session import SessionKey


class MemoryUserData(UserData):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def export(self, user_id: str) -> AsyncIterator[Mapping[str, Any]]:
        for session in await self._of(user_id):
            read = partial(_records, thread_id=session.key.thread_id)
            for record in await self._database.run("export", read):
                yield record

    async def erase(self, user_id: str) -> Sequence[SessionKey]:
        erased: list[SessionKey] = []
        while sessions := await self._of(user_id):
            for session in sessions:
                thread_id = session.key.thread_id

                def step(transaction: Transaction, thread_id: str = thread_id) -> None:
                    transaction.forget(thread_id)
                    transaction.sessions.remove(thread_id)
                    transaction.erased.put(digest(thread_id), True)

                await self._database.run("erase", step)
                erased.append(session.key)
        return erased

    async def expire(self, *, idle_s: float, after: str, limit: int) -> Expired:
        def step(transaction: Transaction) -> Expired:
            looked = sorted(thread_id for thread_id, _ in transaction.sessions.items() if thread_id > after)[:limit]
            deleted: list[SessionKey] = []
            for thread_id in looked:
                session = transaction.sessions.get(thread_id)
                assert session is not None
                age = self._clock.now() - last_activity(session).updated_at
                if age.total_seconds() >= idle_s and not (session.deleted or session.waiting or session.armed):
                    entomb(transaction, session)
                    deleted.append(session.key)
            return Expired(tuple(deleted), looked[-1] if len(looked) == limit else "")

        return await self._database.run("expire", step)

    async def _of(self, user_id: str) -> list[Session]:
        def step(transaction: Transaction) -> list[Session]:
            sessions = [session for _, session in transaction.sessions.items() if session.key.user_id == user_id]
            return sorted(sessions, key=lambda session: session.key.thread_id)

        return await self._database.run("threads_of", step)


def _records(transaction: Transaction, thread_id: str) -> list[Mapping[str, Any]]:
    session = transaction.sessions.get(thread_id)
    files = transaction.files.get(thread_id) or {}
    return [] if session is None else list(_told(session, files))


def _told(session: Session, files: Mapping[str, File]) -> Iterator[Mapping[str, Any]]:
    thread_id = session.key.thread_id
    about = {"threadId": thread_id}
    yield {
        "record": "thread",
        **about,
        "userId": session.key.user_id,
        "agentId": session.key.agent_id,
        "title": session.title,
        "createdAt": session.created_at,
        "deleted": session.deleted,
    }
    for seq in range(1, session.last_seq + 1):
        event = session.event(seq)
        yield {
            "record": "event",
            **about,
            "seq": seq,
            "id": event.id,
            "requestId": event.request_id,
            "receivedAt": session.received[seq - 1],
            "createdAt": event.created_at,
            "body": event.body,
        }
    for effect in session.effects.values():
        yield {
            "record": "effect",
            **about,
            "seq": effect.event_seq,
            "ordinal": effect.ordinal,
            "id": effect.id,
            "cursor": effect.log_index,
            "createdAt": effect.created_at,
            "cancelledAt": effect.cancelled_at,
            "attempts": effect.attempts,
            "error": effect.last_error,
            "body": decode_json(effect.body),
        }
    for timer in session.timers.values():
        yield {
            "record": "timer",
            **about,
            "timerId": timer.timer_id,
            "generation": timer.generation,
            "status": timer.status,
            "payload": decode_json(timer.payload),
        }
    for file_id, file in files.items():
        yield {
            "record": "file",
            **about,
            "fileId": file_id,
            "name": file.name,
            "mimeType": file.mime_type,
            "createdAt": file.created_at,
            "data": file.data,
        }
