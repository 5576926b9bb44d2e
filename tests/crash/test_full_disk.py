"""The disk of the database fills up in the middle of a turn, and later there is room again: first for the tables, then
for PostgreSQL's log, without which it panics, and cannot even start. The embedded database is ours to start again.

UNBROKEN_TEST_FULL_S=60 pytest tests/crash/test_full_disk.py     stays full for longer, each time
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from tests.crash.recorded import Recorded
from tests.crash.scenarios import shown
from tests.crash.small_disk import SmallDisk
from tests.end_to_end.client import PATIENCE_S, Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

MIB: Final = 400
ROOM: Final = 8 << 20
TRIES: Final = 5
QUICK: Final = {"UNBROKEN_RETRY_BACKOFF_S": "0.05", "UNBROKEN_RECOVERY_POLL_S": "0.3"}
LARGE: Final = 30_000
"""Bytes that do not compress: no page that is there already has room for them."""
NO_ROOM: Final = "No space left on device"
STAYS_DOWN: Final = "does not start yet"


def large(options: str) -> str:
    return f"{options} {secrets.token_hex(LARGE)}"


async def log_fills_up(database_url: str) -> None:
    """Until PostgreSQL has no room for its log, and ends."""
    sql = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await sql.execute("SELECT pg_logical_emit_message(true, 'filler', 'x')")
                await sql.execute("SELECT pg_switch_wal()")
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CrashShutdownError, OSError):
        pass
    finally:
        sql.terminate()


async def said(server: Server, words: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while words not in server.said():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class Talk:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.requests: list[str] = []

    async def say(self, text: str) -> None:
        self.requests.append(await self.client.say(text))

    async def refused(self, text: str) -> None:
        """What cannot be stored is refused for now, without a receipt."""
        before = len(self.client.view.refusals)
        await self.say(text)
        await self.client.until(lambda c: len(c.view.refusals) > before)
        assert self.client.view.refusals[before]["retryable"]
        assert self.requests[-1] not in self.client.view.receipts

    async def answered(self) -> None:
        ends = await self.client.answered(*self.requests)
        assert [end["type"] for end in ends] == ["final"] * len(ends)


async def full_in_a_turn(disk: SmallDisk, url: str, talks: list[Talk]) -> None:
    """Answers are being written when the last byte goes; where a slow machine came too late, once more."""
    for _ in range(TRIES):
        await asyncio.to_thread(disk.fill, but_for=ROOM)
        for talk in talks:
            await talk.say(large("words=20 pause=0.1"))
        for talk in talks:
            await shown(talk.client, talk.requests[-1], 20)
        disk.fill()
        stored = [await read_thread(url, talk.client.thread) for talk in talks]
        if any(thread.applied_seq < len(thread.events) for thread in stored):
            return
        disk.make_room(ROOM)
    raise AssertionError(f"{TRIES} times the answers were stored before the disk was full")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_disk_that_fills_up_in_a_turn_costs_nothing_but_time(folder: Path) -> None:
    recorded = Recorded(folder)
    full_s = float(os.environ.get("UNBROKEN_TEST_FULL_S", "1"))
    with SmallDisk(folder / "data", MIB) as disk, Server(folder, environment=QUICK) as server:
        url = EmbeddedPostgres(folder / "data").served_url()
        async with AsyncExitStack() as stack:
            talks = [
                Talk(await stack.enter_async_context(recorded.client(server.url, agent, agent=agent)))
                for agent in ("three", "one")
            ]
            for talk in talks:
                await talk.say("words=2")
                await talk.answered()

            await full_in_a_turn(disk, url, talks)
            await talks[0].refused(large("words=2"))
            await said(server, NO_ROOM)
            await asyncio.sleep(full_s)
            disk.make_room(MIB << 20)
            for talk in talks:
                await talk.answered()

            await full_in_a_turn(disk, url, talks)
            await log_fills_up(url)
            await talks[0].refused("words=2")
            await said(server, STAYS_DOWN)
            await asyncio.sleep(full_s)
            disk.make_room(MIB << 20)
            for talk in talks:
                await talk.say("words=2 and now?")
                await talk.answered()
        assert await recorded.broken(url) == []
        assert server.stop() == 0
