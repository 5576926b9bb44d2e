"""All or nothing over several tables: a transaction sees what is committed and its own changes, and applies them
in one synchronous step, so neither a failure nor a cancellation can leave half of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from datetime import datetime
from hashlib import sha256
from itertools import count
from typing import Generic, Literal, Protocol, TypeVar

from unbroken.adapters.memory.tables import (
    AgentState,
    File,
    Lease,
    Marks,
    Record,
    Session,
    StoredAssistant,
    StoredItem,
)
from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.items import ItemName
from unbroken.domain.session import SessionKey

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class CommitGate(Protocol):
    """What stands around each transaction: the way to the store and the way back.

    Called before it begins and after it is committed, with its name (`accept`, `commit`, `claim`, …). Whatever it
    raises before means that nothing was written; whatever it raises after means that the answer was lost.
    """

    def __call__(self, stage: Literal["before", "after"], operation: str) -> Awaitable[None]: ...


async def one_turn_of_the_loop(stage: Literal["before", "after"], operation: str) -> None:
    """Others run between a call and its effect, and between the effect and its answer, as with any real store."""
    await asyncio.sleep(0)


class Table(Generic[K, V]):
    """Committed rows under a transaction's own changes."""

    def __init__(self, committed: MutableMapping[K, V]) -> None:
        self._committed = committed
        self._changed: dict[K, V | None] = {}

    def get(self, key: K) -> V | None:
        return self._changed[key] if key in self._changed else self._committed.get(key)

    def put(self, key: K, row: V) -> None:
        self._changed[key] = row

    def remove(self, key: K) -> None:
        self._changed[key] = None

    def items(self) -> Iterator[tuple[K, V]]:
        for key in list(self._committed):
            if (row := self.get(key)) is not None:
                yield key, row

    def changed(self) -> list[tuple[K, V | None]]:
        """None: it was removed."""
        return list(self._changed.items())

    def apply(self) -> None:
        for key, row in self._changed.items():
            if row is None:
                self._committed.pop(key, None)
            else:
                self._committed[key] = row


def note(index: dict[str, None], thread_id: str, belongs: bool) -> None:
    """Keep a thread in an index, at the place where it came in, or take it out."""
    if belongs:
        index.setdefault(thread_id)
    else:
        index.pop(thread_id, None)


def digest(thread_id: str) -> bytes:
    """What is remembered of a thread whose user was erased."""
    return sha256(thread_id.encode()).digest()


class Transaction:
    """One step's view of the database, and what it will change."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.sessions = Table(database.sessions)
        self.agent_states = Table(database.agent_states)
        self.marks = Table(database.marks)
        self.leases = Table(database.leases)
        self.boots = Table(database.boots)
        self.files = Table(database.files)
        self.erased = Table(database.erased)
        self.records = Table(database.records)
        self.assistants = Table(database.assistants)
        self.items = Table(database.items)
        self.temporary = Table(database.temporary)

    def session_of(self, key: SessionKey, now: datetime) -> Session:
        """The thread's session, or a new one bound to `key`. Raises ThreadDeleted if it was erased with its user,
        NotYourThread if somebody else has made it without an agent."""
        session = self.sessions.get(key.thread_id)
        if session is None and self.erased.get(digest(key.thread_id)):
            raise ThreadDeleted(key.thread_id)
        record = self.records.get(key.thread_id) if session is None else None
        if record is not None and record.user_id != key.user_id:
            raise NotYourThread(key.thread_id)
        return session or Session(key, now)

    def forget(self, thread_id: str) -> None:
        """Remove everything of a thread but its session."""
        self.agent_states.remove(thread_id)
        self.marks.remove(thread_id)
        self.files.remove(thread_id)
        self.records.remove(thread_id)
        self.temporary.remove(thread_id)

    def put_session(self, session: Session) -> None:
        self.sessions.put(session.key.thread_id, session)

    def alive(self, replica: int | None, now: float) -> bool:
        lease = self.leases.get(replica) if replica is not None else None
        return lease is not None and lease.expires > now

    def apply(self) -> None:
        for table in (
            self.sessions,
            self.agent_states,
            self.marks,
            self.leases,
            self.boots,
            self.files,
            self.erased,
            self.records,
            self.assistants,
            self.items,
            self.temporary,
        ):
            table.apply()
        for thread_id, session in self.sessions.changed():
            unfinished = session is not None and session.waiting > 0 and not session.deleted
            note(self.database.unfinished, thread_id, unfinished)
            note(self.database.owing, thread_id, session is not None and bool(session.owed))
            note(self.database.armed, thread_id, session is not None and session.armed)


class Database:
    """The committed state, and which threads have something to do."""

    def __init__(self, gate: CommitGate) -> None:
        self._gate = gate
        self.sessions: dict[str, Session] = {}
        self.agent_states: dict[str, AgentState] = {}
        self.marks: dict[str, Marks] = {}
        self.leases: dict[int, Lease] = {}
        self.boots: dict[str, int] = {}
        self.files: dict[str, Mapping[str, File]] = {}
        """By thread id, then file id."""
        self.erased: dict[bytes, bool] = {}
        """Digests of threads that were erased with their users."""
        self.records: dict[str, Record] = {}
        """By thread id; one without a session: nothing ran in it yet."""
        self.assistants: dict[tuple[str, str], StoredAssistant] = {}
        """By user id, then assistant id."""
        self.items: dict[ItemName, StoredItem] = {}
        self.temporary: dict[str, bool] = {}
        """Threads that were made for a run of their own."""
        self.replica_ids = count(1)
        self.unfinished: dict[str, None] = {}
        """Threads with unfinished events, oldest first; so with the two below."""
        self.owing: dict[str, None] = {}
        self.armed: dict[str, None] = {}

    async def run(self, operation: str, step: Callable[[Transaction], T]) -> T:
        """Run `step` in one transaction. If it raises, nothing was written; if this is cancelled, all or nothing."""
        await self._gate("before", operation)
        transaction = Transaction(self)
        result = step(transaction)
        transaction.apply()
        await self._gate("after", operation)
        return result
