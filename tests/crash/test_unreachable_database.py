"""A database that is up, and that nobody gets through to: others have all its connections, or it stands still.

UNBROKEN_TEST_STALL_S=20 pytest tests/crash/test_unreachable_database.py     stands still for longer, beyond the limits
                                                                             of every statement
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import pytest

from tests.crash.recorded import Recorded
from tests.crash.scenarios import shown
from tests.end_to_end.client import PATIENCE_S
from tests.end_to_end.server import Server
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

MAX_CONNECTIONS: Final = 16
QUICK: Final = {
    "UNBROKEN_LEASE_TTL_S": "1.0",
    "UNBROKEN_HEARTBEAT_S": "0.3",
    "UNBROKEN_RECOVERY_POLL_S": "0.3",
    "UNBROKEN_RETRY_BACKOFF_S": "0.05",
}
LEASE_IS_LATE: Final = "the lease could not be renewed"
SLOW: Final = "words=20 pause=0.05"
OURS: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'unbroken'"


async def all_taken(stack: AsyncExitStack, url: str) -> None:
    """Until the stack ends, nobody else has a connection to this database server. All are counted: one that is just
    being made takes its place before it can be seen."""
    first = await asyncpg.connect(url)
    stack.push_async_callback(first.close)
    taken = 1
    async with asyncio.timeout(PATIENCE_S):
        while taken < MAX_CONNECTIONS:
            try:
                stack.push_async_callback((await asyncpg.connect(url)).close)
                taken += 1
            except asyncpg.TooManyConnectionsError:
                await first.fetch(OURS)


@contextmanager
def standing_still(server: EmbeddedPostgres) -> Iterator[None]:
    """Every process of it; connections are taken by the kernel, and nobody answers."""
    assert server.pid is not None
    postmaster = psutil.Process(server.pid)
    postmaster.suspend()  # first, so that it has no more children
    processes = [postmaster, *postmaster.children()]
    try:
        for process in processes[1:]:
            process.suspend()
        yield
    finally:
        for process in processes:
            process.resume()


async def late(server: Server) -> None:
    """Until the lease could not be renewed."""
    async with asyncio.timeout(PATIENCE_S):
        while LEASE_IS_LATE not in server.said():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_while_others_have_every_connection_people_are_refused_for_now_and_answered_afterwards(
    expendable_server: EmbeddedPostgres, folder: Path
) -> None:
    url = expendable_server.url
    recorded = Recorded(folder)
    sql = await asyncpg.connect(url)
    await sql.execute(f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
    await sql.close()
    await asyncio.to_thread(expendable_server.restart)
    with Server(folder, database_url=url, environment=QUICK) as server:
        async with recorded.client(server.url, "crowded", agent="three") as client:
            running = await client.say(SLOW)
            await shown(client, running, 20)
            async with AsyncExitStack() as taken:
                await all_taken(taken, url)
                refused = await client.say("not now words=2")
                await client.until(lambda c: bool(c.view.refusals))
                assert client.view.refusals[0]["retryable"]
                assert refused not in client.view.receipts, "no receipt for what is not stored"
                await late(server)
            ends = await client.answered(running, refused)
            assert [end["type"] for end in ends] == ["final", "final"]
        assert await recorded.broken(url) == []
        assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_database_that_stands_still_is_waited_for_and_loses_nothing(
    expendable_server: EmbeddedPostgres, folder: Path
) -> None:
    url = expendable_server.url
    recorded = Recorded(folder)
    with Server(folder, database_url=url, environment=QUICK) as server:
        async with AsyncExitStack() as stack:
            talking, newcomer = [
                await stack.enter_async_context(recorded.client(server.url, thread, agent="three"))
                for thread in ("talking", "newcomer")
            ]
            running = await talking.say(SLOW)
            await shown(talking, running, 20)
            with standing_still(expendable_server):
                waiting, first = await talking.say("words=2"), await newcomer.say("words=2")
                await late(server)
                await asyncio.sleep(float(os.environ.get("UNBROKEN_TEST_STALL_S", "0")))
                assert not {waiting, first} & {*talking.view.receipts, *newcomer.view.receipts}
            ends = [*await talking.answered(running, waiting), *await newcomer.answered(first)]
            assert [end["type"] for end in ends] == ["final"] * 3
        assert await recorded.broken(url) == []
        assert server.stop() == 0
