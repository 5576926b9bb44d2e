"""The final tables, as the checker reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import msgspec

from tests.checker.history import Effect, Event, Session, Tables
from unbroken.adapters.memory.store import MemoryStore

_SESSIONS = "SELECT * FROM sessions"
_EVENTS = "SELECT * FROM events ORDER BY thread_id, seq"
_EFFECTS = "SELECT * FROM effects ORDER BY thread_id, event_seq, ordinal"


async def tables_of_postgres(database_url: str) -> Tables:
    """One snapshot of everything that the laws need, by a connection of its own."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return Tables(
                sessions=[_row(Session, row) for row in await connection.fetch(_SESSIONS)],
                events=[_row(Event, row) for row in await connection.fetch(_EVENTS)],
                effects=[_row(Effect, row) for row in await connection.fetch(_EFFECTS)],
            )
    finally:
        await connection.close()


def _row(kind: type[Any], row: asyncpg.Record) -> Any:
    values = {field: row[field] for field in kind.__struct_fields__}
    if isinstance(values.get("payload"), str):
        values["payload"] = json.loads(values["payload"])
    return msgspec.convert(values, kind)


def tables_of_memory(store: MemoryStore) -> Tables:
    """What a memory store holds at this moment."""
    sessions = store.database.sessions
    return Tables(
        sessions=[
            Session(
                thread_id=thread_id,
                user_id=row.key.user_id,
                agent_id=row.key.agent_id,
                applied_seq=row.applied_seq,
                log_index=row.log_index,
                run=row.run,
                head_event=row.head_event,
                log_floor=row.log_floor,
            )
            for thread_id, row in sessions.items()
        ],
        events=[event for thread_id in sessions for event in _events(store, thread_id)],
        effects=[effect for thread_id in sessions for effect in _effects(store, thread_id)],
    )


def _events(store: MemoryStore, thread_id: str) -> Iterator[Event]:
    for encoded in store.database.sessions[thread_id].events:
        row = json.loads(encoded)
        yield Event(thread_id, row["seq"], row["id"], row["request_id"], row["body"]["type"], row["body"])


def _effects(store: MemoryStore, thread_id: str) -> Iterator[Effect]:
    for row in store.database.sessions[thread_id].effects.values():
        body = json.loads(row.body)
        yield Effect(thread_id, row.event_seq, row.ordinal, row.log_index, row.type, body, row.dedupe_key)
