from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from unbroken.adapters.memory.encoding import decode_effect, decode_json, encode_json
from unbroken.adapters.memory.tables import Record, Session
from unbroken.adapters.memory.threads import last_activity
from unbroken.adapters.memory.transactions import Database, Transaction, digest
from unbroken.domain.catalogue import (
    MAX_METADATA,
    Metadata,
    RecordStatus,
    SortBy,
    ThreadQuery,
    ThreadRecord,
    matches,
)
from unbroken.domain.effects import ReportFailure, SkipEvent
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted
from unbroken.domain.events import StateUpdate
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.thread_records import ThreadRecords


class MemoryThreadRecords(ThreadRecords):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, user_id: str, thread_id: str, metadata: Metadata) -> bool:
        encoded = encoded_metadata(metadata)

        def step(transaction: Transaction) -> bool:
            if transaction.erased.get(digest(thread_id)):
                raise ThreadDeleted(thread_id)
            if _owned(transaction, user_id, thread_id):
                return False
            now = self._clock.now()
            transaction.records.put(thread_id, Record(user_id, encoded, now, now))
            return True

        return await self._database.run("record_thread", step)

    async def get(self, user_id: str, thread_id: str) -> ThreadRecord:
        def step(transaction: Transaction) -> ThreadRecord:
            if not _owned(transaction, user_id, thread_id):
                raise NotYourThread(thread_id)
            return _told(thread_id, transaction.sessions.get(thread_id), transaction.records.get(thread_id))

        return await self._database.run("thread_record", step)

    async def search(
        self,
        user_id: str,
        query: ThreadQuery,
        *,
        limit: int,
        offset: int = 0,
        sort_by: SortBy = "updated_at",
        descending: bool = True,
    ) -> Sequence[ThreadRecord]:
        def step(transaction: Transaction) -> list[ThreadRecord]:
            found = [record for record in _all(transaction, user_id) if _fits(record, query)]
            found.sort(key=lambda record: (getattr(record, sort_by), record.thread_id), reverse=descending)
            return found[offset : offset + limit]

        return await self._database.run("thread_records", step)

    async def count(self, user_id: str, query: ThreadQuery) -> int:
        def step(transaction: Transaction) -> int:
            return sum(_fits(record, query) for record in _all(transaction, user_id))

        return await self._database.run("count_records", step)

    async def describe(self, user_id: str, thread_id: str, metadata: Metadata) -> None:
        encoded_metadata(metadata)

        def step(transaction: Transaction) -> None:
            if not _owned(transaction, user_id, thread_id):
                raise NotYourThread(thread_id)
            now = self._clock.now()
            session, record = transaction.sessions.get(thread_id), transaction.records.get(thread_id)
            if record is None:
                record = Record(user_id, b"{}", session.created_at if session else now, now)
            merged = encoded_metadata(decode_json(record.metadata) | metadata)
            transaction.records.put(thread_id, replace(record, metadata=merged, updated_at=now))

        await self._database.run("describe_thread", step)

    async def discard(self, user_id: str, thread_id: str) -> bool:
        def step(transaction: Transaction) -> bool:
            session, record = transaction.sessions.get(thread_id), transaction.records.get(thread_id)
            if session is not None and session.key.user_id == user_id:
                return False
            if session is not None or record is None or record.user_id != user_id:
                raise NotYourThread(thread_id)
            transaction.records.remove(thread_id)
            return True

        return await self._database.run("discard_thread", step)


def encoded_metadata(metadata: Metadata) -> bytes:
    encoded = encode_json("metadata", metadata)
    if len(encoded) > MAX_METADATA:
        raise InvalidValue("metadata", f"are {len(encoded)} bytes long; the limit is {MAX_METADATA}")
    return encoded


def _owned(transaction: Transaction, user_id: str, thread_id: str) -> bool:
    """Whether there is such a thread. Raises NotYourThread, ThreadDeleted."""
    session, record = transaction.sessions.get(thread_id), transaction.records.get(thread_id)
    owner = session.key.user_id if session else record.user_id if record else user_id
    if owner != user_id:
        raise NotYourThread(thread_id)
    if session is not None and session.deleted:
        raise ThreadDeleted(thread_id)
    return session is not None or record is not None


def _all(transaction: Transaction, user_id: str) -> Iterator[ThreadRecord]:
    for thread_id, session in transaction.sessions.items():
        if session.key.user_id == user_id and not session.deleted:
            yield _told(thread_id, session, transaction.records.get(thread_id))
    for thread_id, record in transaction.records.items():
        if record.user_id == user_id and transaction.sessions.get(thread_id) is None:
            yield _told(thread_id, None, record)


def _fits(record: ThreadRecord, query: ThreadQuery) -> bool:
    return (
        (query.status is None or record.status is query.status)
        and (query.ids is None or record.thread_id in query.ids)
        and matches(record.metadata, query.where)
    )


def _told(thread_id: str, session: Session | None, record: Record | None) -> ThreadRecord:
    metadata: Metadata = decode_json(record.metadata) if record else {}
    moments = [record.updated_at] if record else []
    if session is not None:
        metadata["graph_id"] = session.key.agent_id
        moments.append(last_activity(session).updated_at)
    made = [record.created_at] if record else []
    if session is not None:
        made.append(session.created_at)
    agent_id = session.key.agent_id if session else None
    ran = last_activity(session).updated_at if session is not None else min(made)
    return ThreadRecord(thread_id, agent_id, metadata, min(made), max(moments), ran, _status(session))


def _status(session: Session | None) -> RecordStatus:
    if session is None:
        return RecordStatus.IDLE
    if session.waiting > 0:
        return RecordStatus.BUSY
    if session.open_questions:
        return RecordStatus.INTERRUPTED
    written = _written(session)
    if written is not None:
        return RecordStatus.INTERRUPTED if written.stands else RecordStatus.IDLE
    failed = session.log_index > 0 and isinstance(session.entry(session.log_index).body, ReportFailure)
    return RecordStatus.ERROR if failed else RecordStatus.IDLE


def _written(session: Session) -> SkipEvent | None:
    """The end of the last change of the state that came to something, if nothing was said since."""
    said = session.entry(session.log_index).event if session.log_index else None
    if said is not None and said.seq == session.applied_seq and not isinstance(said.body, StateUpdate):
        return None  # as in every chat: nothing lies behind what was said
    for effect in reversed(tuple(session.effects.values())):
        if said is not None and effect.event_seq < said.seq:
            break
        if effect.type == "skip_event":
            end = decode_effect(effect.body)
            if isinstance(end, SkipEvent) and end.stands is not None:
                return end
    return None
