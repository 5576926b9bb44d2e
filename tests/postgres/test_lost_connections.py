"""Connections that end in the middle: what is certain is said, what is not is called unknown, and the pool goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.contracts.conversation import Conversation, state_at
from tests.contracts.subjects import PostgresSubject, given_back
from tests.postgres.cutting_proxy import CuttingProxy, Loss
from tests.postgres.watching import becomes_true, somebody_waits_for_a_lock
from tests.postgres.whole_tables import changed, everything
from unbroken.adapters.postgres import pool as pool_module
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.store import PostgresStore, open_postgres
from unbroken.domain.errors import CommitUnknown, StoreUnavailable, Unavailable

pytestmark = pytest.mark.asyncio


async def tcp_of(url: str, sql: asyncpg.Connection, port: int) -> str:
    """The same database by TCP, through another port."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}", query=""))


@asynccontextmanager
async def behind_a_proxy(url: str, sql: asyncpg.Connection) -> AsyncIterator[tuple[CuttingProxy, PostgresSubject]]:
    """One connection, through a proxy."""
    async with CuttingProxy(int(await sql.fetchval("SHOW port"))) as proxy:
        through = await tcp_of(url, sql, proxy.port)
        async with open_postgres(through, pool_size=1) as opened:
            yield proxy, PostgresSubject(opened, url)


async def warmed(store: PostgresSubject) -> Conversation:
    """Every statement of a turn was prepared on the connection: from here on each call is one request."""
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.superstep(claim, state_at(1))
    await talk.claim()
    claim = await talk.claim() or claim
    await talk.finish(claim, state=state_at(2))
    await talk.view()
    return talk


async def all_gone(store: PostgresStore) -> bool:
    return store.pool.connected() == 0


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_an_accept_whose_connection_is_cut_is_unknown_and_a_repeat_tells(
    url: str, sql: asyncpg.Connection, loss: Loss
) -> None:
    async with behind_a_proxy(url, sql) as (proxy, store):
        talk = await warmed(store)
        before = await everything(sql)
        new = talk.new()
        proxy.lose_next(loss)
        with pytest.raises(CommitUnknown):
            await talk.accept(new)
        assert proxy.losses == 1
        assert bool(changed(before, await everything(sql))) == (loss == "answer")
        receipt = await talk.accept(new)
        assert (receipt.event.seq, receipt.duplicate) == (2, loss == "answer")


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_a_commit_whose_connection_is_cut_is_unknown_and_all_or_nothing(
    url: str, sql: asyncpg.Connection, loss: Loss
) -> None:
    async with behind_a_proxy(url, sql) as (proxy, store):
        talk = await warmed(store)
        claim = await talk.accepted()
        before = await everything(sql)
        proxy.lose_next(loss)
        with pytest.raises(CommitUnknown):
            await talk.finish(claim, state=state_at(3))
        assert proxy.losses == 1
        if loss == "request":
            assert changed(before, await everything(sql)) == set()
            await talk.finish(claim, state=state_at(3))
        assert await talk.log() == [(1, "answer 1"), (2, "answer 2")]
        assert await talk.claim() is None


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_a_claim_whose_connection_is_cut_is_unknown_and_fenced_by_the_next(
    url: str, sql: asyncpg.Connection, loss: Loss
) -> None:
    async with behind_a_proxy(url, sql) as (proxy, store):
        talk = await warmed(store)
        first = await talk.accepted()
        proxy.lose_next(loss)
        with pytest.raises(CommitUnknown):
            await talk.claim()
        claim = await talk.claim()
        assert claim is not None
        counted = 1 if loss == "answer" else 0
        assert (claim.tries, claim.run) == (first.tries + counted + 1, first.run + counted + 1)


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_a_read_whose_connection_is_cut_failed_and_nothing_else(
    url: str, sql: asyncpg.Connection, loss: Loss
) -> None:
    async with behind_a_proxy(url, sql) as (proxy, store):
        talk = await warmed(store)
        proxy.lose_next(loss)
        with pytest.raises(StoreUnavailable):
            await talk.view()
        assert (await talk.view()).applied_seq == 1


async def test_connections_that_died_while_nobody_used_them_are_not_noticed(
    url: str, sql: asyncpg.Connection, store: PostgresSubject
) -> None:
    talk = await Conversation.begin(store)
    await asyncio.gather(*(talk.accept() for _ in range(8)))
    killed = await sql.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'unbroken' AND datname = current_database()"
    )
    assert killed >= 4
    await becomes_true(lambda: all_gone(store))  # the news is on its way through the sockets
    receipts = await asyncio.gather(*(talk.accept() for _ in range(8)))
    assert sorted(receipt.event.seq for receipt in receipts) == list(range(9, 17))


async def test_a_backend_terminated_in_the_middle_of_an_accept_leaves_it_unknown(
    url: str, sql: asyncpg.Connection, store: PostgresSubject
) -> None:
    talk = await Conversation.begin(store)
    await talk.accept()
    async with sql.transaction():
        await sql.execute("SELECT FROM inbox FOR UPDATE")
        waiting = asyncio.create_task(talk.accept())
        async with asyncio.timeout(10):
            while not await sql.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ):
                await sql.execute("SELECT pg_stat_clear_snapshot()")
        with pytest.raises(CommitUnknown):
            await waiting
    assert (await talk.accept()).event.seq == 2


@pytest.mark.parametrize("own_server", [18, 15], indirect=True)
async def test_a_restarted_database_is_found_again(own_server: EmbeddedPostgres) -> None:
    async with open_postgres(own_server.url, pool_size=4) as store:
        talk = await Conversation.begin(PostgresSubject(store, own_server.url))
        said = [talk.new() for _ in range(60)]

        async def say(new: Any) -> int:
            while True:
                try:
                    return (await talk.accept(new)).event.seq
                except Unavailable:
                    await asyncio.sleep(0.05)

        restart = asyncio.to_thread(own_server.restart, immediate=True)
        sayers = [asyncio.create_task(say(new)) for new in said[:20]]
        async with asyncio.timeout(60):
            await restart
            seqs = await asyncio.gather(*sayers, *(say(new) for new in said[20:]))
        assert sorted(seqs) == list(range(1, 61))


async def test_a_call_waits_out_a_short_restart_as_nothing_was_sent_yet(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "PATIENCE_S", 60.0)  # whatever is short on this machine today
    async with open_postgres(own_server.url, pool_size=2) as store:
        talk = await Conversation.begin(PostgresSubject(store, own_server.url))
        await talk.accept()
        restart = asyncio.create_task(asyncio.to_thread(own_server.restart))
        await becomes_true(lambda: all_gone(store))
        receipt = await talk.accept()
        assert receipt.event.seq == 2
        await restart


async def test_a_statement_that_takes_too_long_is_surely_rolled_back(
    url: str, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pool_module.SERVER_SETTINGS, "statement_timeout", "300")
    async with open_postgres(url, pool_size=2) as store:
        talk = await Conversation.begin(PostgresSubject(store, url))
        await talk.accept()
        before = await everything(sql)
        async with sql.transaction():
            await sql.execute("SELECT FROM inbox FOR UPDATE")
            with pytest.raises(StoreUnavailable, match="nothing was written: canceling statement"):
                await talk.accept()
        assert changed(before, await everything(sql)) == set()
        assert (await talk.accept()).event.seq == 2


async def test_whoever_finds_no_free_connection_is_told_so_in_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "QUEUE_TIMEOUT_S", 0.3)
    async with open_postgres(url, pool_size=1) as store:
        talk = await Conversation.begin(PostgresSubject(store, url))
        async with store.pool.transaction():
            with pytest.raises(StoreUnavailable, match="no connection to the database within the time allowed"):
                await asyncio.wait_for(talk.accept(), 5)
        assert (await talk.accept()).event.seq == 1


async def test_a_commit_that_was_sent_is_made_although_nobody_waits_for_it(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    async with sql.transaction():
        await sql.execute("SELECT FROM sessions FOR UPDATE")
        finishing = asyncio.create_task(talk.finish(claim))
        await somebody_waits_for_a_lock(sql)
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
        assert store.checked_out() == 1
    await given_back(store)
    assert await talk.log() == [(1, "answer 1")]
