"""Marks of delivery, in what only the tables show: which rows a raise writes, and what racers leave."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.contracts.conversation import Conversation
from tests.contracts.subjects import PostgresSubject
from tests.postgres.watching import LOCK_WAITERS, becomes_true
from unbroken.domain.ports.outbox import Reached

pytestmark = pytest.mark.asyncio


async def delivered(store: PostgresSubject, entries: int) -> Conversation:
    talk = await Conversation.begin(store)
    for _ in range(entries):
        await talk.finish(await talk.accepted())
    return talk


async def moments(sql: asyncpg.Connection, talk: Conversation) -> list[tuple[str, int, int]]:
    rows = await sql.fetch(
        "SELECT mark, above, upto FROM delivery_marks WHERE thread_id = $1 ORDER BY mark, upto", talk.thread_id
    )
    return [(row["mark"], row["above"], row["upto"]) for row in rows]


async def test_each_raise_is_a_row_and_what_raises_nothing_writes_nothing(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = await delivered(store, 3)
    await store.outbox.mark({talk.thread_id: Reached(3)}, {talk.thread_id: Reached(1)})
    version = "SELECT xmin::text FROM deliveries WHERE thread_id = $1"
    before = await sql.fetchval(version, talk.thread_id)
    for lagging in (Reached(1), Reached(3)):
        await store.outbox.mark({talk.thread_id: lagging}, {talk.thread_id: Reached(1)})
    assert await sql.fetchval(version, talk.thread_id) == before
    await store.outbox.mark({talk.thread_id: Reached(2)}, {talk.thread_id: Reached(3)})
    assert await moments(sql, talk) == [("acked", 0, 1), ("acked", 1, 3), ("sent", 0, 3)]


async def test_a_thread_that_is_not_there_is_not_marked(store: PostgresSubject, sql: asyncpg.Connection) -> None:
    """It was erased, or deleted, while a socket still followed it: nothing of it may come back."""
    talk = await delivered(store, 1)
    await store.threads.delete(talk.key.user_id, talk.thread_id)
    for gone in ("erased", talk.thread_id):
        await store.outbox.mark({gone: Reached(1)}, {gone: Reached(1)})
    for table in ("deliveries", "delivery_marks"):
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_racers_that_raise_a_mark_to_the_same_place_keep_the_first_moment(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    """The second has seen the mark as it was, waits for the row, and still has an acknowledgement to write."""
    talk = await delivered(store, 2)
    await store.outbox.mark({talk.thread_id: Reached(1)}, {})
    async with sql.transaction():
        await sql.execute("UPDATE deliveries SET sent = 2 WHERE thread_id = $1", talk.thread_id)
        await sql.execute(
            "INSERT INTO delivery_marks (thread_id, mark, upto, above, at) VALUES ($1, 'sent', 2, 1, '2026-01-01')",
            talk.thread_id,
        )
        second = asyncio.create_task(store.outbox.mark({talk.thread_id: Reached(2)}, {talk.thread_id: Reached(1)}))
        await becomes_true(lambda: store.pool.read(f"SELECT FROM ({LOCK_WAITERS}) w (n) WHERE n > 0"))
    await second
    assert await moments(sql, talk) == [("acked", 0, 1), ("sent", 0, 1), ("sent", 1, 2)]
    facts = await store.audit.session(talk.thread_id, limit=9)
    assert facts is not None
    (told,) = facts.events[1].effects
    assert told.sent_at is not None
    assert told.sent_at.month == 1
