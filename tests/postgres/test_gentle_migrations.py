"""A deploy migrates while others serve: nothing is rewritten, no table is kept from anybody, and what the former
version calls stays."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import Connection, event, text

from tests.contracts.conversation import Conversation
from tests.contracts.subjects import PostgresSubject
from tests.postgres.test_migrations import empty, execute, objects, url
from unbroken.adapters.postgres import migrate as migration
from unbroken.adapters.postgres.migrate import migrate, migrating
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.errors import StoreUnavailable

__all__ = ["empty", "url"]

pytestmark = pytest.mark.asyncio

BEFORE = "0003"
"""From the revision after this one on, the schema is changed under those who serve."""

GENTLE = (
    r"CREATE FUNCTION \w+",
    r"CREATE TABLE \w+",
    r"COMMENT ON (TABLE|COLUMN|FUNCTION) ",
    r"CREATE SEQUENCE \w+",
    # Neither a default to be written into each row, nor a condition that each is looked at for.
    r"ALTER TABLE \w+ ADD COLUMN (?!.*(NOT NULL|DEFAULT|CHECK|UNIQUE|PRIMARY|REFERENCES|GENERATED))",
    r"ALTER TABLE \w+ ALTER COLUMN \w+ SET (STATISTICS \d+|STORAGE EXTERNAL)$",
    r"UPDATE unbroken_migrations ",
    r"(SELECT|SHOW) ",
)
"""What may be said to a table in use, or is said to none. An index on a table in use is made CONCURRENTLY, which needs
a revision without a transaction around it: there is none so far."""


def gentle(statement: str, new_tables: set[str]) -> bool:
    """Whether old and new version can both go on while this is executed, and afterwards."""
    words = " ".join(re.sub(r"--[^\n]*", "", statement).split())
    made = re.match(r"CREATE TABLE (\w+)", words, re.IGNORECASE)
    if made:
        new_tables.add(made[1])
    index = re.match(r"CREATE (UNIQUE )?INDEX \w+ ON (\w+)", words, re.IGNORECASE)
    if index:
        return index[2] in new_tables
    filled = re.match(r"INSERT INTO (\w+)", words, re.IGNORECASE)
    if filled:
        return filled[1] in new_tables
    return any(re.match(pattern, words, re.IGNORECASE) for pattern in GENTLE)


async def at_the_former_version(url: str) -> None:
    await migrate(url, BEFORE)


@pytest.mark.parametrize(
    "rough",
    [
        "CREATE INDEX events_created ON events (created_at)",
        "CREATE UNIQUE INDEX sessions_title ON sessions (title)",
        "ALTER TABLE sessions ALTER COLUMN run TYPE numeric",
        "ALTER TABLE sessions ADD COLUMN moved integer NOT NULL DEFAULT 0",
        "ALTER TABLE sessions ADD COLUMN made timestamptz DEFAULT clock_timestamp()",
        "ALTER TABLE sessions ADD CONSTRAINT positive CHECK (run >= 0)",
        "ALTER TABLE events DROP COLUMN received_at",
        "ALTER TABLE sessions RENAME COLUMN owner TO holder",
        "UPDATE events SET received_at = created_at",
        "DELETE FROM delivery_marks",
        "DROP FUNCTION unbroken_claim_v2",
        "CREATE OR REPLACE FUNCTION unbroken_claim_v2() RETURNS void LANGUAGE sql AS ''",
        "LOCK TABLE sessions",
        "VACUUM FULL sessions",
    ],
)
async def test_what_would_rewrite_or_lock_a_table_or_take_something_away_is_told_from_the_rest(rough: str) -> None:
    assert not gentle(rough, set())


async def test_what_is_new_may_be_given_what_it_needs() -> None:
    tables: set[str] = set()
    assert gentle("CREATE TABLE shelves (id bigint)", tables)
    assert gentle("CREATE INDEX shelves_id ON shelves (id)", tables)
    assert gentle("ALTER TABLE sessions ADD COLUMN shelf bigint", tables)


async def test_every_statement_of_a_later_revision_leaves_those_who_serve_alone(empty: str) -> None:
    await at_the_former_version(empty)
    said: list[str] = []

    def upgrade(connection: Connection) -> None:
        @event.listens_for(connection, "before_cursor_execute")
        def note(_: object, __: object, statement: str, *___: object) -> None:
            said.append(statement)

        migration._migrate(connection, "head")

    async with migrating(empty) as connection:
        await connection.run_sync(upgrade)
    tables: set[str] = set()
    assert any("unbroken_claim_v3" in statement for statement in said), "nothing was listened to"
    assert [statement for statement in said if not gentle(statement, tables)] == []


@asynccontextmanager
async def writing_everywhere(url: str) -> AsyncIterator[None]:
    """Somebody's transaction that has written to each table of a turn, and stays open."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    for table in ("inbox", "sessions", "events", "effects", "heads", "timers", "controls", "deliveries", "replicas"):
        await connection.execute(f"DELETE FROM {table}")
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def test_a_migration_waits_for_nobody_s_transaction(empty: str) -> None:
    await at_the_former_version(empty)
    async with open_postgres_of_the_former_version(empty) as store:
        talk = await Conversation.begin(store)
        await talk.accept()
        async with writing_everywhere(empty), asyncio.timeout(60):
            await migrate(empty)


@asynccontextmanager
async def open_postgres_of_the_former_version(url: str) -> AsyncIterator[PostgresSubject]:
    """Its accepts, that is: what is prepared when a connection begins is of this version."""
    from unbroken.adapters.postgres import event_store
    from unbroken.adapters.postgres import store as module

    warmed, accept = module.WARMED, event_store.ACCEPT
    module.WARMED = tuple(one for one in warmed if "v3" not in one)  # type: ignore[misc,assignment]
    event_store.ACCEPT = accept.replace("accept_v3", "accept_v2")  # type: ignore[misc]
    try:
        async with open_postgres(url, pool_size=2) as opened:
            yield PostgresSubject(opened, url)
    finally:
        module.WARMED = warmed  # type: ignore[misc]
        event_store.ACCEPT = accept  # type: ignore[misc]


async def test_a_change_that_needs_a_table_lets_everybody_through_while_it_waits_for_one(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def add_column(connection: Connection, revision: str) -> None:
        tries.append(len(tries))
        connection.execute(text("ALTER TABLE sessions ADD COLUMN shelf bigint"))

    monkeypatch.setattr(migration, "_migrate", add_column)
    monkeypatch.setattr(migration, "LOCK_LIMIT_S", 0.1)
    monkeypatch.setattr(migration, "PAUSE_S", 0.1)
    async with open_postgres(url, pool_size=2) as opened:
        talk = await Conversation.begin(PostgresSubject(opened, url))
        async with writing_everywhere(url):
            changing = asyncio.create_task(migrate(url))
            for _ in range(3):
                seen = len(tries)
                async with asyncio.timeout(30):
                    while len(tries) == seen:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                    await talk.accept(key=Conversation(talk.store, talk.replica).key)
            assert not changing.done()
        async with asyncio.timeout(30):
            await changing
    await execute(url, "ALTER TABLE sessions DROP COLUMN shelf")


async def test_a_table_that_is_never_let_go_ends_the_start_with_a_reason(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        migration, "_migrate", lambda connection, _: connection.execute(text("LOCK TABLE sessions")) and None
    )
    monkeypatch.setattr(migration, "LOCK_LIMIT_S", 0.05)
    monkeypatch.setattr(migration, "PATIENCE_S", 0.0)
    async with writing_everywhere(url):
        with pytest.raises(StoreUnavailable, match="pg_stat_activity") as failure:
            await migrate(url)
    assert "\n" not in str(failure.value)


async def test_whatever_the_former_version_calls_is_there_after_the_migration(empty: str) -> None:
    await at_the_former_version(empty)
    former = await objects(empty)
    await migrate(empty)
    assert former <= await objects(empty)
