"""An owner that is stalled past its lease and thaws (SIGSTOP, SIGCONT). Another replica has taken over and finished
meanwhile: what the thawed one still commits is fenced out, and nobody who knows better is shown what it still says.

UNBROKEN_TEST_THAWS=50 pytest tests/crash/test_thaw.py     more rounds; the two servers take turns at it
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.crash.recorded import Recorded
from tests.crash.row_lock import RowLock
from tests.crash.scenarios import shown
from tests.end_to_end.client import PATIENCE_S, Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread

SHORT: Final = {
    "UNBROKEN_LEASE_TTL_S": "1.5",
    "UNBROKEN_HEARTBEAT_S": "0.4",
    "UNBROKEN_RECOVERY_POLL_S": "0.3",
    "UNBROKEN_RETRY_BACKOFF_S": "0.05",
    "UNBROKEN_MAX_TRIES": "50",  # on a busy machine a lease may be lost without a stall
}
SLOW: Final = "words=16 pause=0.1"
AGENTS: Final = ("one", "three", "turn")
COMMIT: Final = "unbroken_commit_v"
FENCED: Final = "fenced out"


class Conversation:
    """One thread: who spoke and moves away from a stalled server, who stays with it, and who watches beside it."""

    def __init__(self, thread: str, speaker: Client, faithful: Client, beside: Client) -> None:
        self.thread = thread
        self.speaker = speaker
        self.faithful = faithful
        self.beside = beside
        self.requests: list[str] = []

    async def say(self, text: str) -> str:
        self.requests.append(await self.speaker.say(text))
        return self.requests[-1]

    async def everybody_knows(self) -> None:
        for client in (self.speaker, self.faithful, self.beside):
            ends = await client.answered(*self.requests)
            assert [end["type"] for end in ends] == ["final"] * len(ends)


class Stage:
    """Two servers over one database."""

    def __init__(self, database_url: str, recorded: Recorded) -> None:
        self.database_url = database_url
        self._recorded = recorded

    async def conversation(self, stack: AsyncExitStack, thread: str, owner: Server, other: Server) -> Conversation:
        agent = thread.partition("-")[0]
        clients = [
            await stack.enter_async_context(self._recorded.client(server.url, thread, name=name, agent=agent))
            for name, server in ((".speaker", owner), (".faithful", owner), (".beside", other))
        ]
        return Conversation(thread, *clients)


async def stall(server: Server) -> None:
    """Returns when it does nothing any more."""
    server.process.send_signal(signal.SIGSTOP)
    process = psutil.Process(server.process.pid)
    async with asyncio.timeout(PATIENCE_S):
        while process.status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def said(server: Server, words: str, times: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while server.said().count(words) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def stalled_in_the_middle(stage: Stage, owner: Server, other: Server, name: str) -> int:
    """The answers are being written; returns how many of them the owner had not finished when it stood still."""
    fenced = owner.said().count(FENCED)
    async with AsyncExitStack() as stack:
        talks = [await stage.conversation(stack, f"{agent}-{name}", owner, other) for agent in AGENTS]
        for talk in talks:
            await shown(talk.speaker, await talk.say(SLOW), 20)
        await stall(owner)
        try:
            stored = [await read_thread(stage.database_url, talk.thread) for talk in talks]
            unfinished = sum(not thread.applied_seq for thread in stored)
            for talk in talks:
                talk.speaker.moves_to(other.url)
                talk.speaker.cut()
                await talk.say("words=3")
            for talk in talks:
                await talk.speaker.answered(*talk.requests)
                await talk.beside.answered(*talk.requests)
                talk.speaker.moves_to(owner.url)
        finally:
            owner.process.send_signal(signal.SIGCONT)
        for talk in talks:
            talk.speaker.cut()  # so it comes back to the owner of old, which still writes its old answer
        await said(owner, FENCED, fenced + unfinished)
        for talk in talks:
            await talk.say("words=3 and now?")
            await talk.everybody_knows()
    return unfinished


async def stalled_in_a_commit(stage: Stage, owner: Server, other: Server, name: str) -> None:
    """The finishing commit was sent, and is applied while the owner stands still: its answer waits in the socket."""
    async with AsyncExitStack() as stack:
        talk = await stage.conversation(stack, f"one-{name}", owner, other)
        await shown(talk.speaker, await talk.say("words=10 pause=0.05"), 5)
        try:
            async with RowLock(stage.database_url, "sessions", talk.thread) as lock:
                await lock.awaited(COMMIT)
                await stall(owner)
            await talk.beside.answered(*talk.requests)
            talk.speaker.moves_to(other.url)
            talk.speaker.cut()
            await talk.say("words=3")
            await talk.speaker.answered(*talk.requests)
        finally:
            owner.process.send_signal(signal.SIGCONT)
        await talk.everybody_knows()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_an_owner_that_thaws_after_its_lease_is_fenced_out_and_shows_nothing_to_who_knows_better(
    folder: Path, database_url: str
) -> None:
    recorded = Recorded(folder)
    stage = Stage(database_url, recorded)
    servers = []
    try:
        for name in ("first", "second"):
            (folder / name).mkdir()
            servers.append(Server(folder / name, database_url=database_url, environment=SHORT))
            servers[-1].start()
        for server in servers:
            await asyncio.to_thread(server.wait_ready)
        stalled = 0
        owner, other = servers
        for number in range(int(os.environ.get("UNBROKEN_TEST_THAWS", "1"))):
            stalled += await stalled_in_the_middle(stage, owner, other, f"middle{number}")
            await stalled_in_a_commit(stage, owner, other, f"commit{number}")
            owner, other = other, owner
        assert stalled, "every answer was finished before its server stood still"
        assert await recorded.broken(database_url) == []
    finally:
        for server in servers:
            await asyncio.to_thread(server.stop)
