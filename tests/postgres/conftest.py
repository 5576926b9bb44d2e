"""A migrated database of both versions, the stores over it, and a plain connection beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
import pytest_asyncio

from tests.contracts.subjects import PostgresSubject, given_back
from unbroken.adapters.postgres.store import open_postgres


@pytest.fixture(params=[18, 15])
def url(request: pytest.FixtureRequest, new_database: Callable[[int], str]) -> str:
    return new_database(request.param)


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
