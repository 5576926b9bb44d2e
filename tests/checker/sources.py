"""The final tables, as the checker reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asyncpg
import msgspec

from tests.checker.history import Effect, Event, Session, Tables, Timer
from unbroken.adapters.memory import tables as memory
from unbroken.adapters.memory.store import MemoryStore

_SESSIONS = """
SELECT s.*, s.deleted_at IS NOT NULL AS deleted, coalesce(d.acked, 0) AS acked
FROM sessions s LEFT JOIN deliveries d USING (thread_id)
"""
_EVENTS = "SELECT * FROM events ORDER BY thread_id, seq"
_EFFECTS = "SELECT * FROM effects ORDER BY thread_id, event_seq, ordinal"
_TIMERS = "SELECT * FROM timers ORDER BY thread_id, timer_id, generation"
_COUNTED = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "heads", "controls", "files")


async def tables_of_postgres(database_url: str) -> Tables:
    """One snapshot of everything that the laws need, by a connection of its own."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return Tables(
                sessions=[_row(Session, row) for row in await connection.fetch(_SESSIONS)],
                events=[_row(Event, row) for row in await connection.fetch(_EVENTS)],
                effects=[_row(Effect, row) for row in await connection.fetch(_EFFECTS)],
                timers=[_row(Timer, row) for row in await connection.fetch(_TIMERS)],
                counts=await _counts(connection),
            )
    finally:
        await connection.close()


async def _counts(connection: asyncpg.Connection[Any]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for table in _COUNTED:
        for row in await connection.fetch(f"SELECT thread_id, count(*) AS rows FROM {table} GROUP BY thread_id"):
            counts.setdefault(row["thread_id"], {})[table] = row["rows"]
    return counts


def _row(kind: type[Any], row: asyncpg.Record) -> Any:
    values = {field: row[field] for field in kind.__struct_fields__}
    if isinstance(values.get("payload"), str):
        values["payload"] = msgspec.json.decode(values["payload"])
    return msgspec.convert(values, kind)


def tables_of_memory(store: MemoryStore) -> Tables:
    """What a memory store holds at this moment."""
    sessions = store.database.sessions
    return Tables(
        sessions=[_session(store, thread_id, row) for thread_id, row in sessions.items()],
        events=[event for thread_id, row in sessions.items() for event in _events(thread_id, row)],
        effects=[effect for thread_id, row in sessions.items() for effect in _effects(thread_id, row)],
        timers=[
            Timer(thread_id, timer.timer_id, timer.generation, timer.status)
            for thread_id, row in sessions.items()
            for timer in row.timers.values()
        ],
        counts={thread_id: rows for thread_id in sessions if (rows := _rows(store, thread_id))},
    )


def _session(store: MemoryStore, thread_id: str, row: memory.Session) -> Session:
    marks = store.database.marks.get(thread_id) or memory.Marks()
    return Session(
        thread_id=thread_id,
        user_id=row.key.user_id,
        agent_id=row.key.agent_id,
        applied_seq=row.applied_seq,
        log_index=row.log_index,
        run=row.run,
        head_event=row.head_event,
        log_floor=row.log_floor,
        tries=row.tries,
        deleted=row.deleted,
        acked=marks.acked,
    )


def _events(thread_id: str, session: memory.Session) -> Iterator[Event]:
    for encoded in session.events:
        row = msgspec.json.decode(encoded)
        yield Event(thread_id, row["seq"], row["id"], row["request_id"], row["body"]["type"], row["body"])


def _effects(thread_id: str, session: memory.Session) -> Iterator[Effect]:
    for row in session.effects.values():
        yield Effect(
            thread_id=thread_id,
            event_seq=row.event_seq,
            ordinal=row.ordinal,
            log_index=row.log_index,
            type=row.type,
            payload=msgspec.json.decode(row.body),
            dedupe_key=row.dedupe_key,
            status=None if row.log_index is not None else row.status,
        )


def _rows(store: MemoryStore, thread_id: str) -> dict[str, int]:
    """By table, of those that have any."""
    rows: dict[str, int] = {"controls": len(store.database.sessions[thread_id].controls)}
    if (state := store.database.agent_states.get(thread_id)) is not None:
        rows["checkpoints"] = len(state.checkpoints)
        rows["checkpoint_blobs"] = len(state.blobs)
        rows["checkpoint_writes"] = sum(map(len, state.writes.values()))
        rows["heads"] = len(state.heads)
    rows["files"] = len(store.database.files.get(thread_id, ()))
    return {table: count for table, count in rows.items() if count}
