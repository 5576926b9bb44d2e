"""The schema: up, down, up again; on an empty database, on an official saver's, and by many at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from tests.conftest import on_database
from tests.contracts.conversation import Conversation, state_at
from tests.contracts.subjects import PostgresSubject
from tests.postgres.whole_tables import TABLES
from unbroken.adapters.postgres.migrate import LOCK, differences, migrate
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.errors import InvalidValue, StoreUnavailable

pytestmark = pytest.mark.asyncio

OFFICIAL = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations")

OBJECTS = """
SELECT relkind::text || ' ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION SELECT 'function ' || oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


@pytest.fixture(params=[18, 15])
def url(request: pytest.FixtureRequest, new_database: Callable[[int], str]) -> str:
    """A migrated database for this test alone: it will not stay as it is."""
    return new_database(request.param)


@pytest_asyncio.fixture
async def empty(url: str) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    name = url.rpartition("/")[2] if "?" not in url else url.partition("?")[0].rpartition("/")[2]
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}_empty TEMPLATE template0 ENCODING 'UTF8'")
    yield on_database(url, f"{name}_empty")
    await connection.execute(f"DROP DATABASE {name}_empty WITH (FORCE)")
    await connection.close()


async def objects(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row[0] for row in await connection.fetch(OBJECTS)}
    finally:
        await connection.close()


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def count(url: str, table: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


async def test_a_migrated_database_is_what_the_tables_say(empty: str) -> None:
    await migrate(empty)
    assert await differences(empty) == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE effects DROP COLUMN claim_no",
        "ALTER TABLE events ALTER COLUMN request_id DROP NOT NULL",
        "ALTER TABLE events DROP CONSTRAINT events_request_id_key",
        "ALTER TABLE sessions ALTER COLUMN epoch TYPE integer",
        "DROP INDEX inbox_waiting",
        "DROP TABLE controls",
        "ALTER TABLE checkpoint_writes DROP COLUMN task_path",
        "ALTER TABLE sessions ALTER COLUMN log_floor DROP DEFAULT",
    ],
)
async def test_a_schema_that_is_not_what_the_tables_say_is_noticed(url: str, change: str) -> None:
    await execute(url, change)
    assert await differences(url) != []


async def test_down_takes_everything_away_and_up_brings_it_back(empty: str) -> None:
    before = await objects(empty)
    await migrate(empty)
    up = await objects(empty)
    assert {f"r {table}" for table in (*TABLES, *OFFICIAL)} <= up
    await migrate(empty, "base")
    assert await objects(empty) - before == {"r unbroken_migrations", "i unbroken_migrations_pkc"}
    await migrate(empty)
    assert await objects(empty) == up
    assert await differences(empty) == []
    async with open_postgres(empty, pool_size=2) as store:
        assert await store.timers.next_due_s() is None


async def test_migrating_again_changes_nothing(url: str) -> None:
    before = await objects(url)
    await migrate(url)
    assert await objects(url) == before


async def test_many_that_migrate_at_once_leave_one_schema(empty: str) -> None:
    await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert await differences(empty) == []


async def test_whoever_migrates_waits_for_the_lock(empty: str) -> None:
    connection = await asyncpg.connect(empty)
    await connection.execute("SELECT pg_advisory_lock($1::bigint)", LOCK)
    waiting = asyncio.create_task(migrate(empty))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    await connection.close()
    await waiting


async def test_a_failing_migration_leaves_nothing_behind(empty: str) -> None:
    await execute(empty, "CREATE VIEW outbox AS SELECT 1 AS one")
    before = await objects(empty)
    with pytest.raises(StoreUnavailable, match='"outbox" already exists') as failure:
        await migrate(empty)
    assert "\n" not in str(failure.value)
    assert await objects(empty) == before


async def test_the_official_savers_database_is_adopted_with_all_that_is_in_it(empty: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "old", "checkpoint_ns": ""}}
    async with AsyncPostgresSaver.from_conn_string(empty) as saver:
        await saver.setup()
        stored = await saver.aput(config, empty_checkpoint(), {"source": "input", "step": -1, "parents": {}}, {})
        await saver.aput_writes(stored, [("messages", "hi")], "task")
    await migrate(empty)
    assert await differences(empty) == []
    async with open_postgres(empty, pool_size=2) as store:
        head = await store.checkpoints.load("old", "", None)
        assert head is not None
        assert head.row.checkpoint_id == stored["configurable"]["checkpoint_id"]
        assert [write.channel for write in head.writes] == ["messages"]


async def test_an_older_official_schema_is_brought_up_to_date(empty: str) -> None:
    old = AsyncPostgresSaver.MIGRATIONS[:4]
    assert "checkpoint_writes" in old[3]
    await execute(
        empty,
        *old,
        "ALTER TABLE checkpoint_blobs ALTER COLUMN blob SET NOT NULL",
        "INSERT INTO checkpoint_migrations SELECT generate_series(0, 3)",
    )
    await migrate(empty)
    assert await differences(empty) == []
    assert await count(empty, "checkpoint_migrations") == len(AsyncPostgresSaver.MIGRATIONS) == 10


async def test_the_official_saver_finds_nothing_to_migrate_in_ours(url: str) -> None:
    before = await objects(url)
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()
    assert await objects(url) == before
    assert await differences(url) == []


async def test_down_keeps_what_the_official_saver_can_read(url: str, store: PostgresSubject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), state=state_at(1))
    await store.checkpoints.put("old", StateChange(checkpoints=state_at(2).checkpoints))
    await migrate(url, "base")
    assert await count(url, "checkpoints") == 2
    assert {f"r {table}" for table in OFFICIAL} <= await objects(url)
    assert not {"r events", "r sessions", "v outbox"} & await objects(url)
    await migrate(url)
    assert await count(url, "checkpoints") == 2
    assert await differences(url) == []


async def test_other_peoples_tables_and_migrations_are_left_alone(empty: str) -> None:
    await execute(empty, "CREATE TABLE alembic_version (version_num text)", "CREATE TABLE theirs (id int)")
    await execute(empty, "INSERT INTO alembic_version VALUES ('theirs')")
    await migrate(empty)
    assert await differences(empty) == []
    await migrate(empty, "base")
    assert {"r alembic_version", "r theirs"} <= await objects(empty)
    assert await count(empty, "alembic_version") == 1


async def test_a_schema_newer_than_this_code_is_left_alone(url: str) -> None:
    await execute(url, "UPDATE unbroken_migrations SET version_num = '9999'")
    before = await objects(url)
    await migrate(url)
    assert await objects(url) == before


async def test_a_database_that_cannot_hold_every_character_is_refused_in_one_line(url: str) -> None:
    name = url.partition("?")[0].rpartition("/")[2] + "_latin"
    await execute(url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        with pytest.raises(StoreUnavailable, match="encoding is LATIN1"):
            await migrate(on_database(url, name))
    finally:
        await execute(url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("malformed", ["postgresql://h:port/x", "mysql://h/x", "postgresql://u@127.0.0.1:1:2/x"])
async def test_a_malformed_url_is_refused_in_one_line(malformed: str) -> None:
    with pytest.raises(InvalidValue, match="DATABASE_URL") as refusal:
        await migrate(malformed)
    assert "\n" not in str(refusal.value)


async def test_the_alembic_command_agrees(new_database: Callable[[int], str]) -> None:
    root = Path(__file__).parents[2]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "alembic", "check"],
        cwd=root,
        env={"DATABASE_URL": new_database(18), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No new upgrade operations detected" in done.stdout
