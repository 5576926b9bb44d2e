"""Locks are taken in the order inbox → sessions → heads → timers → effects; and who must not wait does not.

Each test holds one row, lets a call run into it, and looks at what the call holds meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.contracts.conversation import PLENTY, Conversation, owed, replica_of, said, state_at
from tests.contracts.subjects import PostgresSubject
from tests.postgres.watching import somebody_waits_for_a_lock
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.events import TimerFired
from unbroken.domain.ports.outbox import Reached
from unbroken.domain.turn import TurnChange

pytestmark = pytest.mark.asyncio

Call = Callable[[], Awaitable[object]]
Prepare = Callable[[Conversation], Awaitable[Call]]

ORDER = ("inbox", "sessions", "heads", "timers", "effects")


async def at_rest(talk: Conversation) -> None:
    """A finished event, with a head, a pending timer and an effect."""
    claim = await talk.accepted()
    await talk.finish(claim, said("yes"), ScheduleTimer(60.0), state=state_at(1))
    await talk.store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e1", after_s=0, payload=1)


async def accept_on_idle(talk: Conversation) -> Call:
    await at_rest(talk)
    return talk.accept


async def accept_on_busy(talk: Conversation) -> Call:
    await at_rest(talk)
    await talk.accept()
    return talk.accept


async def promotion(talk: Conversation) -> Call:
    await at_rest(talk)
    new = talk.new(TimerFired("t", 1))
    return lambda: talk.accept(new)


async def schedule(talk: Conversation) -> Call:
    await at_rest(talk)
    return lambda: talk.store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e2", after_s=9, payload=2)


async def takeover(talk: Conversation) -> Call:
    await at_rest(talk)
    await talk.accept()
    heir = await replica_of(talk.store, talk.replica.name)
    return lambda: talk.claim(heir)


async def finish(talk: Conversation) -> Call:
    await at_rest(talk)
    claim = await talk.accepted()
    effects = owed(claim, said("yes"), ScheduleTimer(1.0))
    return lambda: talk.store.unit_of_work.commit(TurnChange(claim, state_at(2), True, effects))


async def put(talk: Conversation) -> Call:
    await at_rest(talk)
    return lambda: talk.store.checkpoints.put(talk.thread_id, state_at(3))


async def prune(talk: Conversation) -> Call:
    await at_rest(talk)
    return lambda: talk.store.checkpoint_upkeep.prune([talk.thread_id], keep_latest=True)


async def mark(talk: Conversation) -> Call:
    await at_rest(talk)
    return lambda: talk.store.outbox.mark({talk.thread_id: Reached(1)}, {talk.thread_id: Reached(1)})


async def strays(talk: Conversation) -> Call:
    """With an overtaken mark to take back."""
    claim = await talk.accepted()
    await talk.accept()
    following = (await talk.finish(claim)).next
    assert following is not None
    await talk.finish(following)
    return lambda: talk.store.sessions.strays(replica=talk.replica.id, limit=PLENTY)


async def claim_effects(talk: Conversation) -> Call:
    await at_rest(talk)
    return lambda: talk.store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)


async def view(talk: Conversation) -> Call:
    await at_rest(talk)
    return talk.view


@asynccontextmanager
async def held(url: str, table: str, thread_id: str) -> AsyncIterator[None]:
    """Somebody's transaction has locked the thread's rows of a table."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            rows = await connection.fetch(f"SELECT FROM {table} WHERE thread_id = $1 FOR UPDATE", thread_id)
            assert rows, f"{table} holds nothing of the thread: the test would prove nothing"
            yield
    finally:
        await connection.close()


async def is_free(sql: asyncpg.Connection, table: str, thread_id: str) -> bool:
    try:
        async with sql.transaction():
            await sql.fetch(f"SELECT FROM {table} WHERE thread_id = $1 FOR UPDATE NOWAIT", thread_id)
    except asyncpg.LockNotAvailableError:
        return False
    return True


@pytest.mark.parametrize(
    ("prepare", "at"),
    [
        (accept_on_idle, "inbox"),
        (accept_on_idle, "sessions"),
        (accept_on_busy, "inbox"),
        (promotion, "inbox"),
        (promotion, "sessions"),
        (schedule, "inbox"),
        (takeover, "sessions"),
        (finish, "sessions"),
        (finish, "heads"),
        (put, "sessions"),
        (prune, "sessions"),
    ],
)
async def test_whoever_waits_holds_nothing_that_comes_later(
    url: str, store: PostgresSubject, sql: asyncpg.Connection, prepare: Prepare, at: str
) -> None:
    talk = await Conversation.begin(store)
    call = await prepare(talk)
    async with held(url, at, talk.thread_id):
        waiting = asyncio.ensure_future(call())
        await somebody_waits_for_a_lock(sql)
        taken = [table for table in ORDER[ORDER.index(at) + 1 :] if not await is_free(sql, table, talk.thread_id)]
    await waiting
    assert taken == []


@pytest.mark.parametrize(
    ("prepare", "at"),
    [
        (accept_on_busy, "sessions"),
        (accept_on_busy, "effects"),
        (accept_on_idle, "heads"),
        (accept_on_idle, "deliveries"),
        (finish, "inbox"),
        (finish, "timers"),
        (finish, "deliveries"),
        (mark, "sessions"),
        (mark, "inbox"),
        (strays, "inbox"),
        (strays, "sessions"),
        (claim_effects, "effects"),
        (claim_effects, "sessions"),
        (schedule, "sessions"),
        (view, "sessions"),
        (view, "inbox"),
    ],
)
async def test_who_must_not_wait_does_not(url: str, store: PostgresSubject, prepare: Prepare, at: str) -> None:
    talk = await Conversation.begin(store)
    await store.replicas.renew(talk.replica.id, lease_ttl_s=60)
    call = await prepare(talk)
    await store.outbox.mark({talk.thread_id: Reached(1)}, {})
    async with held(url, at, talk.thread_id):
        await asyncio.wait_for(call(), 5)


async def test_the_poll_takes_back_overtaken_marks_and_no_others(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    overtaken, busy = [await Conversation.begin(store) for _ in range(2)]
    claims = []
    for talk in (overtaken, busy):
        claims.append(await talk.accepted())
        await talk.accept()
    following = (await overtaken.finish(claims[0])).next
    assert following is not None
    await overtaken.finish(following)

    async def marked() -> set[str]:
        return {row[0] for row in await sql.fetch("SELECT thread_id FROM inbox WHERE waiting")}

    assert await marked() == {overtaken.thread_id, busy.thread_id}
    assert not await overtaken.is_stray_for(overtaken.replica)
    assert await marked() == {busy.thread_id}
    assert await busy.is_stray_for(busy.replica)


async def test_a_poll_that_finds_nothing_writes_nothing(store: PostgresSubject, sql: asyncpg.Connection) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    for _ in range(10):  # the server's own chores write, too, now and then
        before = await sql.fetchval("SELECT pg_current_xact_id()::text::bigint")
        await store.sessions.strays(replica=talk.replica.id, limit=PLENTY)
        await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
        assert await talk.claim() is None
        if await sql.fetchval("SELECT pg_current_xact_id()::text::bigint") == before + 1:
            return
    pytest.fail("a poll that finds nothing takes a transaction id each time")
