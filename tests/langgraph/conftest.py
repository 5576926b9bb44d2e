"""Both stores, and the official saver over the same tables."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.langgraph.driving import Store
from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.postgres.store import PostgresStore, open_postgres


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(SystemClock())
    else:
        async with open_postgres(request.getfixturevalue("database_url"), pool_size=4) as postgres:
            yield postgres


@pytest_asyncio.fixture
async def postgres(database_url: str) -> AsyncIterator[PostgresStore]:
    async with open_postgres(database_url, pool_size=4) as opened:
        yield opened
