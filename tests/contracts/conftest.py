"""The stores under contract: every law of this folder holds for each of them.

One database a PostgreSQL version, one pool and one event loop serve the whole folder; what a test leaves behind is
deleted before the next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from tests.conftest import TEMPLATE, on_database
from tests.contracts.subjects import MemorySubject, ObservedSubject, PostgresSubject, Subject, given_back
from tests.postgres.pgbouncer import PgBouncer
from unbroken.adapters.postgres.store import open_postgres

STORES: dict[str, type[MemorySubject] | int | str] = {
    "memory": MemorySubject,
    "observed": ObservedSubject,
    "postgres-18": 18,
    "postgres-15": 15,
    "behind-a-pooler": "pooled",
}
DATABASE = "contracts"


@pytest.fixture(scope="session")
def contracts_database(shared_server: Callable[[int], str]) -> Iterator[Callable[[int], str]]:
    """The URL of this folder's database in a version of PostgreSQL."""
    made: dict[int, str] = {}

    def url(version: int) -> str:
        if version not in made:
            made[version] = shared_server(version)
            with psycopg.connect(made[version], autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE}".encode())
        return on_database(made[version], DATABASE)

    yield url
    for server in made.values():
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def opened(
    contracts_database: Callable[[int], str], open_folder: Path
) -> AsyncIterator[Callable[[int | str], Awaitable[PostgresSubject]]]:
    """A subject over one pool a version, or over one behind PgBouncer, opened when first asked for."""
    subjects: dict[int | str, PostgresSubject] = {}
    async with AsyncExitStack() as stack:

        async def subject(kind: int | str) -> PostgresSubject:
            if kind not in subjects:
                direct = through = contracts_database(kind if isinstance(kind, int) else 18)
                if isinstance(kind, str):
                    through = stack.enter_context(PgBouncer(open_folder, direct)).url(DATABASE)
                subjects[kind] = PostgresSubject(await stack.enter_async_context(open_postgres(through)), direct)
            return subjects[kind]

        yield subject


@pytest_asyncio.fixture(params=STORES, loop_scope="session")
async def store(
    request: pytest.FixtureRequest, opened: Callable[[int | str], Awaitable[PostgresSubject]]
) -> AsyncIterator[Subject]:
    kind = STORES[request.param]
    if isinstance(kind, type):
        yield kind()
        return
    subject = await opened(kind)
    await subject.wipe()
    yield subject
    await given_back(subject)
