"""What the tables say of one thread, read by a connection of the tests' own."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
from msgspec import Struct


class StoredEvent(Struct, frozen=True):
    seq: int
    id: str
    request_id: str
    type: str
    payload: dict[str, Any]


class StoredEffect(Struct, frozen=True):
    event_seq: int
    ordinal: int
    log_index: int | None
    type: str
    payload: dict[str, Any]
    status: str | None
    """None: it is in the log, and what was delivered decides."""


class StoredThread(Struct, frozen=True):
    events: list[StoredEvent]
    effects: list[StoredEffect]
    """In the order of event and ordinal."""
    applied_seq: int
    run: int
    log_index: int

    @property
    def log(self) -> list[StoredEffect]:
        """What clients were to see, in order."""
        logged = [effect for effect in self.effects if effect.log_index is not None]
        return sorted(logged, key=lambda effect: effect.log_index or 0)


async def read_thread(database_url: str, thread_id: str) -> StoredThread:
    """One snapshot. Raises AssertionError if there is no such thread."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            events = await connection.fetch("SELECT * FROM events WHERE thread_id = $1 ORDER BY seq", thread_id)
            effects = await connection.fetch(
                "SELECT * FROM effects WHERE thread_id = $1 ORDER BY event_seq, ordinal", thread_id
            )
            session = await connection.fetchrow("SELECT * FROM sessions WHERE thread_id = $1", thread_id)
    finally:
        await connection.close()
    assert session is not None, f"there is no thread {thread_id}"
    return StoredThread(
        events=[_of(StoredEvent, row) for row in events],
        effects=[_of(StoredEffect, row) for row in effects],
        applied_seq=session["applied_seq"],
        run=session["run"],
        log_index=session["log_index"],
    )


def _of(kind: type[Any], row: asyncpg.Record) -> Any:
    values = {field: row[field] for field in kind.__struct_fields__}
    return kind(**values | {"payload": json.loads(values["payload"])})
