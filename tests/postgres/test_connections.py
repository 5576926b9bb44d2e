"""What becomes of connections between two calls: none is lost, none is given to two, none stays for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.postgres.watching import becomes_true
from unbroken.adapters.postgres import pool as pool_module
from unbroken.adapters.postgres.pool import Connection, Pool, open_pool

pytestmark = pytest.mark.asyncio

TAKES_A_WHILE = "SELECT pg_backend_pid(), pg_sleep(0.02)"


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database_url, size=2)
    yield opened
    await opened.close()


async def together(pool: Pool, calls: int) -> set[int]:
    """The connections that so many calls at once were served by."""
    async with asyncio.timeout(30):
        rows = await asyncio.gather(*(pool.read(TAKES_A_WHILE) for _ in range(calls)))
    return {pid for ((pid, _),) in rows}


async def test_more_calls_than_connections_are_all_served_by_those_there_are(pool: Pool) -> None:
    assert len(await together(pool, 20)) == 2
    assert (pool.connected(), pool.checked_out()) == (2, 0)


@pytest.mark.parametrize("method", ["read", "write"])
async def test_calls_that_are_given_up_in_line_or_at_work_leave_every_connection_to_others(
    pool: Pool, method: str
) -> None:
    call = getattr(pool, method)
    calls = [asyncio.create_task(call(TAKES_A_WHILE)) for _ in range(12)]
    await becomes_true(lambda: _all_taken(pool))
    for given_up in calls[::2]:
        given_up.cancel()
    async with asyncio.timeout(30):
        await asyncio.gather(*calls, return_exceptions=True)
        assert [task.cancelled() for task in calls] == [True, False] * 6
        assert [len(task.result()) for task in calls[1::2]] == [1] * 6
        assert len(await together(pool, 8)) == 2
    await becomes_true(lambda: _none_taken(pool))


async def test_nobody_waits_for_a_connection_that_comes_to_rest_while_another_is_free(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller was cancelled twice, and waits no longer for the server to notice the first time."""
    cancel: Any = getattr(Connection, "_cancel")  # noqa: B009 (the driver's own affair)
    noticed = asyncio.Event()

    async def late(self: Connection, *waiters: Any) -> None:
        await noticed.wait()
        await cancel(self, *waiters)

    monkeypatch.setattr(Connection, "_cancel", late)
    await together(pool, 2)
    given_up = asyncio.create_task(pool.read("SELECT pg_sleep(30)"))
    other = asyncio.create_task(pool.read("SELECT pg_sleep(0.3)"))
    await becomes_true(lambda: _all_taken(pool))
    for _ in range(2):
        given_up.cancel()
        await asyncio.sleep(0.05)
    assert given_up.cancelled()
    try:
        async with asyncio.timeout(5):
            await pool.read("SELECT 1")
        assert other.done()
    finally:
        noticed.set()
        await other
    async with asyncio.timeout(30):
        assert len(await together(pool, 8)) == 2
    await becomes_true(lambda: _none_taken(pool))


async def test_what_a_statement_returned_counts_though_a_connection_ends_as_it_is_given_back(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: Any = getattr(Connection, "_on_release")  # noqa: B009 (the driver's own affair)

    def ends(self: Connection, *arguments: Any) -> None:
        noted(self, *arguments)
        asyncio.get_running_loop().call_soon(self.terminate)

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "_on_release", ends)
        for call in (pool.read, pool.write):
            patched.setattr(pool, "_kept_until_s", 0.0)  # it goes back to the driver now
            assert [tuple(row) for row in await call("SELECT 1")] == [(1,)]
    assert len(await together(pool, 8)) == 2
    await becomes_true(lambda: _none_taken(pool))


async def test_connections_that_nobody_needs_any_more_are_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KEPT_S", 0.0)
    monkeypatch.setattr(pool_module, "IDLE_S", 0.2)
    opened = await open_pool(database_url, size=7)
    try:
        await together(opened, 14)
        assert opened.connected() == 7

        async def as_few_as_ever() -> bool:
            await opened.read("SELECT 1")  # whoever goes on working needs one
            return opened.connected() == 4

        await becomes_true(as_few_as_ever)
    finally:
        await opened.close()


async def _all_taken(pool: Pool) -> bool:
    return pool.checked_out() == 2


async def _none_taken(pool: Pool) -> bool:
    return pool.checked_out() == 0
