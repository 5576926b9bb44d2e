"""Behind a transaction pooler everything works but LISTEN, and nobody has to say that one is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from tests.contracts.conversation import Conversation, replica_of
from tests.contracts.subjects import PostgresSubject, given_back
from tests.end_to_end.client import Client
from tests.end_to_end.conftest import pytest_runtest_makereport
from tests.end_to_end.server import Server
from tests.postgres.pgbouncer import PgBouncer
from tests.postgres.test_heartbeat import heartbeat, renewed
from tests.postgres.watching import becomes_true
from unbroken.adapters.postgres.migrate import differences, migrate
from unbroken.adapters.postgres.pool import SESSION_SETTINGS, Pool, open_pool
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.errors import Fenced, InvalidValue, Unavailable

__all__ = ["pytest_runtest_makereport"]

pytestmark = pytest.mark.asyncio

NAMES = tuple(SESSION_SETTINGS)
IN_EFFECT = "SELECT pg_backend_pid() AS pid, " + ", ".join(f"current_setting('{name}') AS {name}" for name in NAMES)
PREPARED = "SELECT count(*)::int AS left_there FROM pg_prepared_statements"
BUSY = "SELECT pg_sleep(0.01)"
MANY = 24
"""Calls at once: more than the pooler has connections for."""
SERVERS = 3


@pytest.fixture(scope="module")
def pooler(open_folder: Path, shared_server: Callable[[int], str]) -> Iterator[PgBouncer]:
    with PgBouncer(open_folder, shared_server(18), servers=SERVERS) as running:
        yield running


@pytest.fixture
def pooled_url(pooler: PgBouncer, database_url: str) -> str:
    return pooler.url(database_of(database_url))


@pytest_asyncio.fixture
async def pool(pooled_url: str) -> AsyncIterator[Pool]:
    opened = await open_pool(pooled_url, size=8)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def store(pooled_url: str, database_url: str) -> AsyncIterator[PostgresSubject]:
    async with open_postgres(pooled_url, pool_size=8) as opened:
        subject = PostgresSubject(opened, database_url)
        yield subject
        await given_back(subject)


@pytest_asyncio.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Past the pooler."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def database_of(url: str) -> str:
    return urlsplit(url).path[1:]


@pytest.mark.parametrize("call", ["read", "write"])
async def test_a_sessions_settings_hold_for_every_statement_on_whatever_connection(
    pool: Pool, sql: asyncpg.Connection, call: str
) -> None:
    wanted = {
        name: await sql.fetchval("SELECT set_config($1, $2, false)", name, SESSION_SETTINGS[name]) for name in NAMES
    }
    rows = await asyncio.gather(*(getattr(pool, call)(IN_EFFECT) for _ in range(MANY)))
    assert len({row["pid"] for (row,) in rows}) > 1, "they never shared a connection"
    assert [{name: row[name] for name in NAMES} for (row,) in rows] == [wanted] * MANY


async def test_a_transaction_of_several_statements_has_them_too(pool: Pool) -> None:
    async with pool.transaction() as connection:
        assert await connection.fetchval("SELECT current_setting('enable_seqscan')") == "off"
        await connection.execute("CREATE TABLE scratch ()")
    assert await pool.read("SELECT to_regclass('scratch') AS there")


async def test_nothing_is_left_behind_on_a_connection_that_others_use(
    pool: Pool, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.gather(*(pool.read(BUSY) for _ in range(MANY)))
    with pytest.raises(InvalidValue):
        await pool.write("SELECT 1 / $1::int", 0)
    given_up = [asyncio.create_task(pool.read("SELECT pg_sleep(0.2)")) for _ in range(4)]
    await becomes_true(lambda: sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.2)'"))
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    left = await asyncio.gather(*(pool.read(PREPARED) for _ in range(MANY)))
    assert [row["left_there"] for (row,) in left] == [0] * MANY
    open_ones = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"

    async def none_open() -> bool:
        return not await sql.fetchval(open_ones)

    await becomes_true(none_open)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("mode", "ignored"),
    [("transaction", ""), ("transaction", ",".join(SESSION_SETTINGS)), ("session", ",".join(SESSION_SETTINGS))],
    ids=["that refuses settings", "that swallows settings", "that keeps a connection for each client"],
)
async def test_a_pooler_is_found_out_whatever_it_does_with_settings(
    open_folder: Path, shared_server: Callable[[int], str], database_url: str, mode: str, ignored: str
) -> None:
    with PgBouncer(open_folder, shared_server(18), mode=mode, ignored=ignored) as other:
        opened = await open_pool(other.url(database_of(database_url)), size=2)
        try:
            (row,) = await opened.read(IN_EFFECT)
            assert row["enable_seqscan"] == "off"
        finally:
            await opened.close()


async def test_without_one_statements_stay_prepared(database_url: str) -> None:
    opened = await open_pool(database_url, size=2, statements=[BUSY])
    try:
        (row,) = await opened.read(PREPARED)
        assert row["left_there"] > 0
    finally:
        await opened.close()


async def test_the_schema_goes_down_and_up_through_it_and_two_at_once_do_it_once(pooled_url: str) -> None:
    await migrate(pooled_url, "base")
    await asyncio.gather(migrate(pooled_url), migrate(pooled_url))
    assert await differences(pooled_url) == []


async def test_a_lease_is_kept_through_it(
    pooled_url: str, store: PostgresSubject, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    replica = await replica_of(store, lease_ttl_s=0)
    lost = asyncio.Event()
    beating = heartbeat(pooled_url, replica.id, lost, interval_s=0.01)
    beating.start()
    try:
        for _ in range(5):  # its next beat meets another connection
            await store.replicas.renew(replica.id, lease_ttl_s=0)
            await asyncio.gather(*(store.pool.read(BUSY) for _ in range(MANY)))
            await renewed(sql, replica.id)
    finally:
        await beating.stop()
    assert not lost.is_set()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


async def test_a_refused_commit_is_rolled_back_and_the_others_it_came_with_are_not(store: PostgresSubject) -> None:
    talks = [await Conversation.begin(store) for _ in range(6)]
    claims = [await talk.accepted() for talk in talks]
    await store.replicas.leave(talks[0].replica.id)
    ends = await asyncio.gather(
        *(talk.finish(claim) for talk, claim in zip(talks, claims, strict=True)), return_exceptions=True
    )
    assert isinstance(ends[0], Fenced)
    assert [await talk.log() for talk in talks] == [[], *[[(1, "answer 1")]] * 5]


async def test_connections_that_the_server_ends_are_replaced(store: PostgresSubject, sql: asyncpg.Connection) -> None:
    talk = await Conversation.begin(store)
    ended = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
    )
    for _ in range(5):
        assert await sql.fetchval(ended, sql.get_server_pid())
        new = talk.new()

        async def accepted() -> bool:
            try:
                await talk.accept(new)  # noqa: B023 (awaited within this round)
            except Unavailable:
                return False
            return True

        await becomes_true(accepted)
    assert [event.seq for event in (await talk.view()).pending] == [1, 2, 3, 4, 5]


@pytest.mark.slow
async def test_conversations_go_on_through_a_killed_server(pooled_url: str, open_folder: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, database_url=pooled_url, environment={"UNBROKEN_RETRY_BACKOFF_S": "0.05"})
    with server:
        clients = [Client(server.url, thread=f"t{n}", agent=("one", "three")[n % 2], stays=True) for n in range(8)]
        asked = {}
        for client in clients:
            await client.__aenter__()
            asked[client] = [await client.say("words=8 pause=0.01"), await client.say("words=30 pause=0.02")]
        try:
            await asyncio.gather(*(client.answered(asked[client][0]) for client in clients))
            server.kill()
            server.start()
            for client in clients:
                ends = await client.answered(*asked[client])
                assert [end["type"] for end in ends] == ["final", "final"]
                assert client.view.faults == []
            cancelled = await clients[0].say("words=500 pause=0.05")
            await clients[0].until(lambda client: bool(client.view.shown.get(cancelled)))
            await clients[0].cancel(cancelled)
            (end,) = await clients[0].answered(cancelled)
            assert end["type"] == "cancelled"
        finally:
            await asyncio.gather(*(client.leave() for client in clients))
        assert "a transaction pooler is between" in server.said()
    assert "Resetting connection" not in server.said()
