"""A kill at the worst moment of every kind of end, in both commit modes: each turn still ends once, as it had to, and
leaves a history that any model provider takes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage

from tests.checker import model_rules
from tests.checker.check import violations
from tests.checker.history import Socket, read_trace
from tests.checker.sources import tables_of_postgres
from tests.crash.recorder import writer_to
from tests.crash.scenarios import LIMIT_S, SCENARIOS, Moment, Scenario
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.adapters.postgres.store import open_postgres

SETTINGS = {"UNBROKEN_TURN_LIMIT_S": str(LIMIT_S), "UNBROKEN_MAX_TRIES": "3", "UNBROKEN_RETRY_BACKOFF_S": "1"}
MODES = {"endings": "superstep", "whole": "turn"}


@pytest.mark.slow
@pytest.mark.asyncio
async def test_every_kind_of_end_outlives_a_kill_at_its_worst_moment(folder: Path, database_url: str) -> None:
    moment = Moment(len(SCENARIOS) * len(MODES))
    expected, found = {}, {}
    with Server(folder, database_url=database_url, environment=SETTINGS) as server:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:

            async def play(thread: str, agent: str, scenario: Scenario) -> None:
                writing = stack.enter_context((folder / f"{thread}.jsonl").open("a", encoding="utf-8", buffering=1))
                record = writer_to(writing)
                async with Client(server.url, thread=thread, agent=agent, stays=True, record=record) as client:
                    ends = await scenario(client, moment)
                    (last,) = await client.answered(await client.say("and now?"))
                    found[thread] = [*ends, last["type"]]
                    assert client.view.faults == []

            async def kill() -> None:
                await asyncio.to_thread(server.kill)
                server.start()
                await asyncio.to_thread(server.wait_ready)

            for agent, mode in MODES.items():
                for name, (scenario, ends) in SCENARIOS.items():
                    expected[f"{name}-{mode}"] = [*ends, "final"]
                    group.create_task(play(f"{name}-{mode}", agent, scenario))
            group.create_task(moment.strike(kill))
        assert found == expected
        tables = await tables_of_postgres(database_url)
        broken = {thread: model_rules.violations(await history(database_url, thread)) for thread in expected}
        assert {thread: faults for thread, faults in broken.items() if faults} == {}
        assert violations(traces(folder, expected), tables) == []


def traces(folder: Path, threads: dict[str, list[str]]) -> list[Socket]:
    return [socket for thread in threads for socket in read_trace(folder / f"{thread}.jsonl")]


async def history(database_url: str, thread: str) -> list[BaseMessage]:
    """What the agent would be given with its next message."""
    async with open_postgres(database_url, pool_size=1) as store:
        saver = StagingSaver(store.checkpoints, thread, head=None)
        found = await saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
        assert found is not None
        messages: list[BaseMessage] = found.checkpoint["channel_values"]["messages"]
        return messages
