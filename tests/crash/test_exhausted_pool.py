"""Every connection of the pool is in somebody's hands: people wait, the lease does not.

UNBROKEN_TEST_CROWD=500 pytest tests/crash/test_exhausted_pool.py     more threads that have to share the pool
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from tests.crash.recorded import Recorded
from tests.crash.row_lock import RowLock
from tests.end_to_end.client import PATIENCE_S, Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread

ACCEPT: Final = "unbroken_accept_v"
LEASE_S: Final = 2.0
SMALLEST: Final = {
    "UNBROKEN_POOL_SIZE": "2",
    "UNBROKEN_LEASE_TTL_S": str(LEASE_S),
    "UNBROKEN_HEARTBEAT_S": "0.5",
}
CROWD: Final = 16
EXPIRY: Final = "SELECT extract(epoch FROM max(expires_at))::float8 FROM replicas"


async def renewed_for(database_url: str, seconds: float) -> None:
    """Until the lease has been put off by so much since the call."""
    sql = await asyncpg.connect(database_url)
    try:
        began = await sql.fetchval(EXPIRY)
        async with asyncio.timeout(PATIENCE_S):
            while await sql.fetchval(EXPIRY) < began + seconds:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await sql.close()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_crowd_that_meets_an_exhausted_pool_waits_and_costs_nobody_an_attempt(
    folder: Path, database_url: str
) -> None:
    recorded = Recorded(folder)
    crowd = int(os.environ.get("UNBROKEN_TEST_CROWD", str(CROWD)))
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(folder, database_url=database_url, environment=SMALLEST))

        async def joined(thread: str) -> Client:
            return await stack.enter_async_context(recorded.client(server.url, thread, agent="one"))

        holders = {thread: await joined(thread) for thread in ("holder-0", "holder-1")}
        others = {thread: await joined(thread) for thread in (f"other-{number}" for number in range(crowd))}
        asked = {thread: [await client.say("words=1")] for thread, client in holders.items()}
        for thread, client in holders.items():
            await client.answered(*asked[thread])
        async with AsyncExitStack() as locks:
            for thread, client in holders.items():
                lock = await locks.enter_async_context(RowLock(database_url, "sessions", thread))
                asked[thread].append(await client.say("words=2"))
                await lock.awaited(ACCEPT)
            for thread, client in others.items():
                asked[thread] = [await client.say("words=2"), await client.say("again")]
            await renewed_for(database_url, LEASE_S)
        for thread, client in holders.items():
            await client.answered(*asked[thread])
        for thread, client in others.items():
            ends = await client.answered(*asked[thread])
            assert [end["type"] for end in ends] == ["final", "final"]
            assert client.view.refusals == [], "a line of a few seconds is no outage"
        assert await recorded.broken(database_url) == []
    for thread, requests in asked.items():
        stored = await read_thread(database_url, thread)
        assert stored.run == len(requests), f"{thread}: an attempt was lost"
