"""The server dies in the middle of a statement. The database has it and applies it; the answer has nobody to go to.

UNBROKEN_TEST_KILLS_WITHIN=50 pytest tests/crash/test_kill_within.py     as many times in each statement
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.crash.recorded import Recorded
from tests.crash.steps import STEPS, Step, waiting
from tests.end_to_end.client import PATIENCE_S
from tests.end_to_end.server import Server
from tests.end_to_end.tables import StoredThread, read_thread

QUICK: Final = {"UNBROKEN_RETRY_BACKOFF_S": "0.05", "UNBROKEN_MAX_TRIES": "4"}


TRIES: Final = 5
"""On a busy machine a statement may be given up before all of them wait; then they are brought to it once more."""


class Round:
    """All steps at once: one server, one death."""

    def __init__(self, recorded: Recorded, server: Server, database_url: str) -> None:
        self.struck: set[str] = set()
        """Steps in which the server died."""
        self._recorded = recorded
        self._server = server
        self._database_url = database_url
        self._meeting = asyncio.Barrier(len(STEPS) + 1)

    async def play(self, number: int) -> None:
        async with asyncio.TaskGroup() as group:
            for name, step in STEPS.items():
                group.create_task(self._applied_unheard(name, f"{name}-{number}", step))
            await self._meeting.wait()  # everything waits for its row
            await asyncio.to_thread(self._server.kill)
            await self._meeting.wait()  # it is dead
            await self._meeting.wait()  # what it had sent is applied
            self._server.start()
            await asyncio.to_thread(self._server.wait_ready)

    async def _applied_unheard(self, name: str, thread: str, step: Step) -> None:
        async with self._recorded.client(self._server.url, thread, agent=step.agent) as client:
            async with waiting(self._database_url, client, thread, step) as (request, lock):
                before = await read_thread(self._database_url, thread)
                await self._meeting.wait()
                await self._meeting.wait()
                struck = await lock.is_awaited(step.function)  # the database does not know yet
            if struck:
                self.struck.add(name)
                await self._applied(thread, step, before)
            await self._meeting.wait()
            (end,) = await client.answered(request)
            assert end.get("code", end["type"]) == step.end
            await client.answered(await client.say("words=2 and now?"))

    async def _applied(self, thread: str, step: Step, before: StoredThread) -> None:
        """Until what nobody was told of is there."""
        async with asyncio.timeout(PATIENCE_S):
            while step.visible and await read_thread(self._database_url, thread) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        after = await read_thread(self._database_url, thread)
        assert (after.applied_seq > before.applied_seq) == (step.visible == "an end")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_statement_whose_sender_died_is_applied_and_its_message_has_one_end(
    folder: Path, database_url: str
) -> None:
    recorded = Recorded(folder)
    struck: Counter[str] = Counter()
    wanted = int(os.environ.get("UNBROKEN_TEST_KILLS_WITHIN", "1"))
    with Server(folder, database_url=database_url, environment=QUICK) as server:
        for number in range(TRIES * wanted):
            one = Round(recorded, server, database_url)
            await one.play(number)
            struck.update(one.struck)
            if all(struck[name] >= wanted for name in STEPS):
                break
        assert all(struck[name] >= wanted for name in STEPS), struck
        assert await recorded.broken(database_url) == []
