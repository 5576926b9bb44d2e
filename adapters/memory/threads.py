from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from unbroken.adapters.memory.encoding import decode_effect, encode_json
from unbroken.adapters.memory.tables import Marks, Session
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.threads import Threads
from unbroken.domain.session import SessionKey
from unbroken.domain.threads import Place, Thread, derived_title, said, status_of


class MemoryThreads(Threads):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, user_id: str, thread_id: str) -> Thread:
        return await self._database.run(
            "thread", lambda transaction: _thread(transaction, owned(transaction, user_id, thread_id))
        )

    async def page(self, user_id: str, *, query: str = "", before: Place | None = None, limit: int) -> Sequence[Thread]:
        encode_json("query", query)

        def step(transaction: Transaction) -> list[Thread]:
            mine = [
                session
                for _, session in transaction.sessions.items()
                if session.key.user_id == user_id and not session.deleted
            ]
            found = {last_activity(session): session for session in mine if _holds(session, query)}
            places = sorted((place for place in found if before is None or place < before), reverse=True)
            return [_thread(transaction, found[place]) for place in places[:limit]]

        return await self._database.run("threads", step)

    async def count(self, user_id: str) -> int:
        def step(transaction: Transaction) -> int:
            bound = sum(
                session.key.user_id == user_id and not session.deleted for _, session in transaction.sessions.items()
            )
            return bound + len(unbound_of(transaction, user_id))

        return await self._database.run("count_threads", step)

    async def create(self, key: SessionKey, *, title: str | None = None) -> Thread:
        encode_json("title", title)

        def step(transaction: Transaction) -> Thread:
            session = transaction.sessions.get(key.thread_id)
            if session is None:
                session = replace(transaction.session_of(key, self._clock.now()), title=title)
                transaction.put_session(session)
            if session.key != key:
                raise NotYourThread(key.thread_id)
            if session.deleted:
                raise ThreadDeleted(key.thread_id)
            return _thread(transaction, session)

        return await self._database.run("create_thread", step)

    async def rename(self, user_id: str, thread_id: str, title: str | None) -> Thread:
        encode_json("title", title)

        def step(transaction: Transaction) -> Thread:
            session = replace(owned(transaction, user_id, thread_id), title=title)
            transaction.put_session(session)
            return _thread(transaction, session)

        return await self._database.run("rename_thread", step)

    async def delete(self, user_id: str, thread_id: str) -> SessionKey:
        def step(transaction: Transaction) -> SessionKey:
            session = transaction.sessions.get(thread_id)
            if session is None or session.key.user_id != user_id:
                raise NotYourThread(thread_id)
            entomb(transaction, session)
            return session.key

        return await self._database.run("delete_thread", step)

    async def gone(self, thread_ids: Collection[str]) -> frozenset[str]:
        def step(transaction: Transaction) -> frozenset[str]:
            sessions = {thread_id: transaction.sessions.get(thread_id) for thread_id in thread_ids}
            return frozenset(thread_id for thread_id, session in sessions.items() if session is None or session.deleted)

        return await self._database.run("gone", step)


def entomb(transaction: Transaction, session: Session) -> None:
    """Remove everything but the tombstone, whose epoch fences every attempt that still runs."""
    if not session.deleted:
        tombstone = Session(session.key, session.created_at, epoch=session.epoch + 1, run=session.run + 1, deleted=True)
        transaction.put_session(tombstone)
        transaction.forget(session.key.thread_id)


def unbound_of(transaction: Transaction, user_id: str) -> list[str]:
    """The user's threads in which nothing ran yet."""
    return [
        thread_id
        for thread_id, record in transaction.records.items()
        if record.user_id == user_id and transaction.sessions.get(thread_id) is None
    ]


def last_activity(session: Session) -> Place:
    moments = [session.created_at]
    if session.events:
        moments.append(session.event(session.last_seq).created_at)
    if session.log:
        moments.append(session.effects[session.log[-1]].created_at)
    return Place(max(moments), session.key.thread_id)


def owned(transaction: Transaction, user_id: str, thread_id: str) -> Session:
    session = transaction.sessions.get(thread_id)
    if session is None or session.key.user_id != user_id:
        raise NotYourThread(thread_id)
    if session.deleted:
        raise ThreadDeleted(thread_id)
    return session


def _thread(transaction: Transaction, session: Session) -> Thread:
    title = session.title
    if title is None:
        title = derived_title(said(session.event(1).body)) if session.events else ""
    return Thread(
        thread_id=session.key.thread_id,
        agent_id=session.key.agent_id,
        title=title,
        created_at=session.created_at,
        updated_at=last_activity(session).updated_at,
        cursor=session.log_index,
        acked=(transaction.marks.get(session.key.thread_id) or Marks()).acked,
        status=status_of(unfinished=session.waiting > 0, asks=bool(session.open_questions)),
    )


def _holds(session: Session, query: str) -> bool:
    wanted = query.lower()
    return not wanted or any(wanted in text.lower() for text in _texts(session))


def _texts(session: Session) -> Iterator[str]:
    yield session.title or ""
    for seq in range(1, session.last_seq + 1):
        yield said(session.event(seq).body)
    for effect in session.effects.values():
        yield said(decode_effect(effect.body))
