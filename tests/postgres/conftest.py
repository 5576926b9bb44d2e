"""One migrated database of either version for the whole folder, emptied before each test, and the stores over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import psycopg
import pytest
import pytest_asyncio

from tests.conftest import TEMPLATE, on_database
from tests.contracts.subjects import PostgresSubject, given_back
from tests.postgres.whole_tables import EMPTY
from unbroken.adapters.postgres.store import open_postgres

DATABASE = "folder_postgres"


@pytest.fixture(scope="session")
def folder_database(shared_server: Callable[[int], str]) -> Iterator[Callable[[int], str]]:
    servers: dict[int, str] = {}

    def url(version: int) -> str:
        if version not in servers:
            servers[version] = shared_server(version)
            with psycopg.connect(servers[version], autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE}".encode())
        return on_database(servers[version], DATABASE)

    yield url
    for server in servers.values():
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())


@pytest.fixture(params=[18, 15])
def url(request: pytest.FixtureRequest, folder_database: Callable[[int], str]) -> str:
    found = folder_database(request.param)
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute(EMPTY.encode())
    return found


@pytest_asyncio.fixture
async def sql(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[PostgresSubject]:
    async with open_postgres(url, pool_size=8) as opened:
        subject = PostgresSubject(opened, url)
        yield subject
        await given_back(subject)
