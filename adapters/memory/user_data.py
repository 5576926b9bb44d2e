from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from unbroken.adapters.memory.encoding import decode_json
from unbroken.adapters.memory.tables import File, Session
from unbroken.adapters.memory.threads import entomb, last_activity
from unbroken.adapters.memory.transactions import Database, Table, Transaction, digest
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.user_data import Expired, UserData
from unbroken.domain.session import SessionKey

CAMEL: Final = {"graph_id": "graphId"}


class MemoryUserData(UserData):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def export(self, user_id: str) -> AsyncIterator[Mapping[str, Any]]:
        for session in await self._of(user_id):
            read = partial(_records, thread_id=session.key.thread_id)
            for record in await self._database.run("export", read):
                yield record
        for record in await self._database.run("export", partial(_catalogue, user_id=user_id)):
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
        await self._database.run("erase", partial(_erase_catalogue, user_id=user_id))
        return erased

    async def expire(self, *, idle_s: float, after: str, limit: int) -> Expired:
        def step(transaction: Transaction) -> Expired:
            if not after:
                _expire_unbound(transaction, self._clock.now() - timedelta(seconds=idle_s))
            return self._expire(transaction, transaction.sessions, idle_s, after, limit)

        return await self._database.run("expire", step)

    async def expire_temporary(self, *, idle_s: float, after: str, limit: int) -> Expired:
        def step(transaction: Transaction) -> Expired:
            return self._expire(transaction, transaction.temporary, idle_s, after, limit)

        return await self._database.run("expire_temporary", step)

    def _expire(
        self, transaction: Transaction, among: Table[str, Any], idle_s: float, after: str, limit: int
    ) -> Expired:
        looked = sorted(thread_id for thread_id, _ in among.items() if thread_id > after)[:limit]
        deleted: list[SessionKey] = []
        for thread_id in looked:
            session = transaction.sessions.get(thread_id)
            assert session is not None
            age = self._clock.now() - last_activity(session).updated_at
            if age.total_seconds() >= idle_s and not (session.deleted or session.waiting or session.armed):
                entomb(transaction, session)
                deleted.append(session.key)
        return Expired(tuple(deleted), looked[-1] if len(looked) == limit else "")

    async def _of(self, user_id: str) -> list[Session]:
        def step(transaction: Transaction) -> list[Session]:
            sessions = [session for _, session in transaction.sessions.items() if session.key.user_id == user_id]
            return sorted(sessions, key=lambda session: session.key.thread_id)

        return await self._database.run("threads_of", step)


def _records(transaction: Transaction, thread_id: str) -> list[Mapping[str, Any]]:
    session = transaction.sessions.get(thread_id)
    files = transaction.files.get(thread_id) or {}
    return [] if session is None else list(_told(session, files))


def _catalogue(transaction: Transaction, user_id: str) -> list[Mapping[str, Any]]:
    notes = [
        {
            "record": "note",
            "threadId": thread_id,
            "userId": user_id,
            "metadata": decode_json(record.metadata),
            "createdAt": record.created_at,
        }
        for thread_id, record in sorted(transaction.records.items())
        if record.user_id == user_id
    ]
    presets = [
        {
            "record": "assistant",
            "assistantId": assistant_id,
            "version": number,
            **{CAMEL.get(name, name): value for name, value in decode_json(encoded).items()},
            "createdAt": made,
            "counts": number == stored.version,
        }
        for (owner, assistant_id), stored in sorted(transaction.assistants.items())
        if owner == user_id
        for number, (encoded, made) in enumerate(stored.versions, 1)
    ]
    return [*notes, *presets]


def _erase_catalogue(transaction: Transaction, user_id: str) -> None:
    for thread_id, record in transaction.records.items():
        if record.user_id == user_id:
            transaction.records.remove(thread_id)
    for key in [key for key, _ in transaction.assistants.items() if key[0] == user_id]:
        transaction.assistants.remove(key)


def _expire_unbound(transaction: Transaction, before: datetime) -> None:
    for thread_id, record in transaction.records.items():
        if record.updated_at < before and transaction.sessions.get(thread_id) is None:
            transaction.records.remove(thread_id)


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
