"""PostgreSQL gives statements up after `statement_timeout`, in whatever step of a turn: nothing of them is written, and
each step is done again once it can be.

UNBROKEN_TEST_TIMEOUTS=10 pytest tests/crash/test_statement_timeouts.py     as many times in each step
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import pytest

from tests.crash.recorded import Recorded
from tests.crash.steps import STEPS, Step, waiting
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread

GIVEN_UP: Final = "canceling statement due to statement timeout"


async def given_up(database_url: str, client: Client, thread: str, step: Step) -> None:
    async with waiting(database_url, client, thread, step) as (request, lock):
        await lock.given_up(step.function)
        if step.table == "inbox":
            await client.until(lambda c: bool(c.view.refusals))
            assert request not in client.view.receipts, "no receipt for what is not stored"
    (end,) = await client.answered(request)
    assert end.get("code", end["type"]) == step.end
    if step.attempts is not None:
        stored = await read_thread(database_url, thread)
        assert stored.run == 1 + step.attempts, "a statement that was given up cost an attempt"
    await client.answered(await client.say("words=2 and now?"))


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_statement_that_the_database_gives_up_in_any_step_of_a_turn_is_done_again(
    folder: Path, database_url: str
) -> None:
    recorded = Recorded(folder)

    async def strike(thread: str, step: Step) -> None:
        async with recorded.client(server.url, thread, agent=step.agent) as client:
            await given_up(database_url, client, thread, step)

    with Server(folder, database_url=database_url, environment={"UNBROKEN_RETRY_BACKOFF_S": "0.05"}) as server:
        rounds = int(os.environ.get("UNBROKEN_TEST_TIMEOUTS", "1"))
        for number in range(rounds):
            async with asyncio.TaskGroup() as group:
                for name, step in STEPS.items():
                    group.create_task(strike(f"{name}-{number}", step))
        told = rounds * (len(STEPS) - 1)
        assert server.said().count(GIVEN_UP) >= told, "all but an accept's, of which its client is told"
        assert await recorded.broken(database_url) == []
