"""Waiting for what another process does, which tells nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

LOCK_WAITERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def becomes_true(look: Callable[[], Awaitable[object]], *, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not await look():  # noqa: ASYNC110 (whoever changes it is in another process)
            await asyncio.sleep(0.01)


async def somebody_waits_for_a_lock(sql: asyncpg.Connection) -> None:
    await becomes_true(lambda: sql.fetchval(LOCK_WAITERS))
