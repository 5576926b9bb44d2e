"""A process killed between two nodes: what each commit mode runs again, and what a message that kills costs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.verdict import BETWEEN_MESSAGES
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread
from tests.graphs.speech import is_speech

SAID = "words=12 pause=0.03"
TRIES = 2


@pytest.fixture
def node_log(folder: Path) -> Path:
    return folder / "nodes.jsonl"


@pytest.fixture
def server(node_log: Path, database_url: str) -> Iterator[Server]:
    settings = {"UNBROKEN_TEST_NODE_LOG": str(node_log), "UNBROKEN_MAX_TRIES": str(TRIES)}
    with Server(node_log.parent, database_url=database_url, environment=settings) as server:
        yield server


async def restarted(server: Server) -> None:
    server.start()
    await asyncio.to_thread(server.wait_ready)


def executions(node_log: Path, event: str) -> Counter[str]:
    lines = [json.loads(line) for line in node_log.read_text().splitlines()]
    return Counter(line["node"] for line in lines if line["event"] == event)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_after_a_kill_in_the_last_node_superstep_mode_runs_only_that_one_again(
    server: Server, database_url: str, node_log: Path
) -> None:
    async with (
        Client(server.url, thread="superstep", agent="three", stays=True) as three,
        Client(server.url, thread="turn", agent="turn", stays=True) as turn,
    ):
        requests = {client: await client.say(SAID) for client in (three, turn)}
        for client, request in requests.items():
            await client.until(lambda c, r=request: BETWEEN_MESSAGES + "[" in c.view.shown.get(r, ""))  # type: ignore[misc]
        gathered = three.view.shown[requests[three]].partition(BETWEEN_MESSAGES)[0]
        server.kill()
        await restarted(server)
        (resumed,) = await three.answered(requests[three])
        (repeated,) = await turn.answered(requests[turn])
        assert three.view.faults == turn.view.faults == []

    assert resumed["attempt"] == repeated["attempt"] == 2
    first, second = resumed["message"].split(BETWEEN_MESSAGES)
    assert first == gathered, "what the first node had said stands"
    assert is_speech([("human", SAID)], first)
    assert is_speech([("human", SAID), ("ai", first)], second)
    events = {thread: (await read_thread(database_url, thread)).events[0].id for thread in ("superstep", "turn")}
    assert executions(node_log, events["superstep"]) == {"gather": 1, "weigh": 1, "write": 2}
    assert executions(node_log, events["turn"]) == {"gather": 2, "weigh": 2, "write": 2}


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_message_that_kills_the_process_is_given_up_after_its_tries_and_the_session_goes_on(
    server: Server, database_url: str
) -> None:
    async with Client(server.url, thread="poison", agent="one", stays=True) as client:
        poison = await client.say("die=3 words=6 pause=0.1")
        waiting = await client.say("and after it?")
        await client.until(lambda c: waiting in c.view.receipts)
        for _ in range(TRIES):
            await asyncio.to_thread(server.process.wait, 30)
            await restarted(server)
        error, answer = await client.answered(poison, waiting)
        assert client.view.faults == []
    assert (error["type"], error["code"]) == ("error", "poisoned")
    assert is_speech([("human", "and after it?")], answer["message"]), "the poison never entered the conversation"
    assert (await read_thread(database_url, "poison")).run == TRIES + 2
