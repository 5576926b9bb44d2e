"""A deletion takes its locks in everyone's order, and waits for an accept that has begun: its event goes as well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tests.contracts.conversation import Conversation
from tests.contracts.subjects import PostgresSubject
from tests.postgres.test_lock_order import ORDER, at_rest, held, is_free
from tests.postgres.watching import somebody_waits_for_a_lock
from unbroken.adapters.postgres.event_store import ACCEPT
from unbroken.domain.errors import ThreadDeleted
from unbroken.domain.ports.outbox import Reached

pytestmark = pytest.mark.asyncio

Removal = Callable[[Conversation], Awaitable[Any]]


async def delete(talk: Conversation) -> object:
    return await talk.store.threads.delete(talk.key.user_id, talk.thread_id)


async def erase(talk: Conversation) -> object:
    return await talk.store.user_data.erase(talk.key.user_id)


@pytest.mark.parametrize("remove", [delete, erase])
@pytest.mark.parametrize("at", ORDER[:-1])
async def test_a_deletion_that_waits_holds_nothing_that_comes_later(
    url: str, store: PostgresSubject, sql: asyncpg.Connection, remove: Removal, at: str
) -> None:
    talk = await Conversation.begin(store)
    await at_rest(talk)
    async with held(url, at, talk.thread_id):
        waiting = asyncio.ensure_future(remove(talk))
        await somebody_waits_for_a_lock(sql)
        taken = [table for table in ORDER[ORDER.index(at) + 1 :] if not await is_free(sql, table, talk.thread_id)]
    await waiting
    assert taken == []


@pytest.mark.parametrize("remove", [delete, erase])
async def test_an_accept_that_has_begun_comes_before_the_deletion(
    url: str, store: PostgresSubject, sql: asyncpg.Connection, remove: Removal
) -> None:
    talk = await Conversation.begin(store)
    await talk.accepted()
    other = await asyncpg.connect(url)
    try:
        async with other.transaction():
            new = ("id", "request", "user_message", '{"type": "user_message", "content": "late"}', b"", "{}", True)
            key = (talk.thread_id, talk.key.user_id, talk.key.agent_id)
            await other.fetch(ACCEPT, *key, *new, None, None, talk.replica.id, 9, "enqueue", None)
            waiting = asyncio.ensure_future(remove(talk))
            await somebody_waits_for_a_lock(sql)
    finally:
        await other.close()
    await waiting
    assert await sql.fetchval("SELECT count(*) FROM events WHERE thread_id = $1", talk.thread_id) == 0
    with pytest.raises(ThreadDeleted):
        await talk.accept()


async def test_an_accept_that_waits_for_an_erasure_is_refused(
    url: str, store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    """Its inbox is gone when its turn comes, so it begins a new thread, which must not be."""
    talk = await Conversation.begin(store)
    await talk.accepted()
    other = await asyncpg.connect(url)
    try:
        async with other.transaction():
            await other.execute("SELECT unbroken_erase_thread_v1($1, $2)", talk.thread_id, talk.key.user_id)
            waiting = asyncio.ensure_future(talk.accept())
            await somebody_waits_for_a_lock(sql)
    finally:
        await other.close()
    with pytest.raises(ThreadDeleted):
        await waiting
    assert await sql.fetchval("SELECT count(*) FROM inbox WHERE thread_id = $1", talk.thread_id) == 0


async def test_a_mark_that_came_after_its_session_was_gone_goes_with_the_next_erasure(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    await store.outbox.mark({talk.thread_id: Reached(1)}, {})
    await sql.execute("INSERT INTO deliveries (thread_id, sent, acked) VALUES ('late', 1, 1)")
    await erase(talk)
    assert await sql.fetchval("SELECT count(*) FROM deliveries") == 0


async def test_a_tombstone_keeps_neither_notes_of_attempts_nor_moments_of_delivery(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    await store.outbox.mark({talk.thread_id: Reached(1)}, {talk.thread_id: Reached(1)})
    await talk.accepted()
    await delete(talk)
    assert await sql.fetchval("SELECT attempts FROM sessions WHERE thread_id = $1", talk.thread_id) is None
    assert await sql.fetchval("SELECT count(*) FROM delivery_marks") == 0
