"""The lease is kept by a thread of its own, whatever the event loop does."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import psycopg
import pytest

from tests.contracts.conversation import Conversation, replica_of
from tests.contracts.subjects import PostgresSubject
from tests.postgres.watching import becomes_true
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.heartbeat import Heartbeat, moment
from unbroken.adapters.postgres.store import open_postgres

pytestmark = pytest.mark.asyncio

REMAINING = "SELECT extract(epoch FROM expires_at - now())::double precision FROM replicas WHERE id = $1"


def heartbeat(url: str, replica: int, lost: asyncio.Event, *, interval_s: float = 0.05) -> Heartbeat:
    return Heartbeat(url, replica, lease_ttl_s=60.0, interval_s=interval_s, on_lost=lost.set)


async def renewed(sql: asyncpg.Connection, replica: int) -> None:
    await becomes_true(lambda: sql.fetchval(f"SELECT ({REMAINING}) > 50", replica))


async def test_a_lease_is_renewed_while_the_event_loop_is_blocked(
    url: str, store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    replica = await replica_of(store, lease_ttl_s=0)
    lost = asyncio.Event()
    beating = heartbeat(url, replica.id, lost)
    beating.start()
    try:
        await renewed(sql, replica.id)
        await store.replicas.renew(replica.id, lease_ttl_s=0)
        time.sleep(2)  # noqa: ASYNC251 (the loop is blocked: that is the law)
        assert await sql.fetchval(REMAINING, replica.id) > 50
    finally:
        await beating.stop()
    assert not lost.is_set()


async def test_a_later_boot_is_told_to_the_former_one_once(url: str, store: PostgresSubject) -> None:
    replica = await replica_of(store)
    calls: list[float] = []
    lost = asyncio.Event()

    def on_lost() -> None:
        calls.append(asyncio.get_running_loop().time())
        lost.set()

    beating = Heartbeat(url, replica.id, lease_ttl_s=60.0, interval_s=0.05, on_lost=on_lost)
    beating.start()
    heir = await replica_of(store, replica.name)
    await asyncio.wait_for(lost.wait(), 10)
    await beating.stop()
    assert len(calls) == 1
    assert await store.replicas.renew(heir.id, lease_ttl_s=60)


async def test_after_stop_the_lease_is_not_renewed_and_nobody_is_called(
    url: str, store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    replica = await replica_of(store, lease_ttl_s=0)
    lost = asyncio.Event()
    beating = heartbeat(url, replica.id, lost)
    beating.start()
    await renewed(sql, replica.id)
    await beating.stop()
    await store.replicas.renew(replica.id, lease_ttl_s=0)
    await replica_of(store, replica.name)
    await asyncio.sleep(0.3)
    assert await sql.fetchval(REMAINING, replica.id) is None
    assert not lost.is_set()


async def test_stopping_does_not_wait_for_the_next_beat(url: str, store: PostgresSubject) -> None:
    replica = await replica_of(store)
    beating = heartbeat(url, replica.id, asyncio.Event(), interval_s=3600.0)
    beating.start()
    await asyncio.sleep(0.2)
    await asyncio.wait_for(beating.stop(), 5)


async def test_a_database_that_was_away_is_no_lost_lease(own_server: EmbeddedPostgres) -> None:
    async with open_postgres(own_server.url, pool_size=2) as store:
        talk = await Conversation.begin(PostgresSubject(store, own_server.url))
        lost = asyncio.Event()
        beating = heartbeat(own_server.url, talk.replica.id, lost)
        beating.start()
        await asyncio.to_thread(own_server.restart, immediate=True)
        await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
        sql = await asyncpg.connect(own_server.url)
        await renewed(sql, talk.replica.id)
        await beating.stop()
        await sql.close()
        assert not lost.is_set()


async def test_each_renewal_tells_how_many_are_alive(url: str, store: PostgresSubject) -> None:
    replica, other = await replica_of(store), await replica_of(store)
    await replica_of(store, lease_ttl_s=0)
    told: list[int] = []
    beating = Heartbeat(
        url, replica.id, lease_ttl_s=60.0, interval_s=0.05, on_lost=lambda: told.append(0), on_alive=told.append
    )
    beating.start()
    try:
        for alive in (2, 1):
            await becomes_true(lambda: _last_is(told, alive))  # noqa: B023
            await store.replicas.leave(other.id)
    finally:
        await beating.stop()


async def _last_is(told: list[int], alive: int) -> bool:
    return told[-1:] == [alive]


async def test_nothing_is_held_before_the_first_renewal_and_listeners_are_told_of_it(
    url: str, store: PostgresSubject
) -> None:
    replica = await replica_of(store)
    beating, told = heartbeat(url, replica.id, asyncio.Event()), list[bool]()
    regained = asyncio.Event()
    beating.listen(lambda: told.append(beating.held()))
    beating.listen(regained.set)
    assert not beating.held()
    beating.start()
    await asyncio.wait_for(regained.wait(), 10)
    await asyncio.sleep(0.3)
    await beating.stop()
    assert told == [True], "what goes on without a break is no news"


async def test_what_was_joined_for_is_held_from_the_moment_before(url: str, store: PostgresSubject) -> None:
    before = moment()
    replica = await replica_of(store)
    told: list[float] = []
    beating = Heartbeat(url, replica.id, lease_ttl_s=60.0, interval_s=0.05, on_lost=lambda: None, joined_at=before)
    beating.listen(lambda: told.append(moment()))
    assert beating.held()
    beating.start()
    await asyncio.sleep(0.3)
    await beating.stop()
    assert told == []
    late = Heartbeat(url, replica.id, lease_ttl_s=60.0, interval_s=0.05, on_lost=lambda: None, joined_at=before - 61)
    assert not late.held()


async def test_the_lease_is_never_held_longer_here_than_in_the_database(
    url: str, store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    replica = await replica_of(store, lease_ttl_s=0)
    beating = heartbeat(url, replica.id, asyncio.Event())
    beating.start()
    await renewed(sql, replica.id)
    await beating.stop()
    before = moment()
    left = await sql.fetchval(
        "SELECT extract(epoch FROM expires_at - clock_timestamp())::double precision FROM replicas WHERE id = $1",
        replica.id,
    )
    assert beating._held_until - before <= left + (moment() - before)


async def test_a_lapse_is_told_on_the_loop_and_nothing_is_held_before(own_server: EmbeddedPostgres) -> None:
    async with open_postgres(own_server.url, pool_size=2) as store:
        talk = await Conversation.begin(PostgresSubject(store, own_server.url))
        regained = asyncio.Event()
        beating = Heartbeat(
            own_server.url, talk.replica.id, lease_ttl_s=1.0, interval_s=0.1, on_lost=lambda: None, joined_at=moment()
        )
        beating.start()
        await asyncio.to_thread(own_server.stop)
        await becomes_true(lambda: asyncio.sleep(0, not beating.held()))
        beating.listen(regained.set)
        own_server.start()
        with psycopg.connect(own_server.url, autocommit=True) as sql:  # the loop is busy all the while
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                row = sql.execute("SELECT expires_at > now() FROM replicas WHERE id = %s", [talk.replica.id]).fetchone()
                if row == (True,):
                    break
            time.sleep(0.2)  # noqa: ASYNC251
        assert not beating.held(), "renewed, and nobody was told of the lapse"
        await asyncio.wait_for(regained.wait(), 30)
        assert beating.held()
        await beating.stop()
