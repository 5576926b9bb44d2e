"""Stopping on purpose and by accident: clients are told, nothing is lost, and the next start goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread
from tests.graphs.speech import is_speech

SHORT, LONG = "words=20 pause=0.02", "words=40 pause=0.03"


@pytest.fixture
def server(folder: Path, database_url: str) -> Iterator[Server]:
    with Server(folder, database_url=database_url, environment={"UNBROKEN_DRAIN_S": "3"}) as server:
        yield server


async def restarted(server: Server) -> None:
    server.start()
    await asyncio.to_thread(server.wait_ready)


@pytest.mark.asyncio
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_says_1012_finishes_what_runs_exits_with_0_and_takes_up_the_rest_later(
    server: Server, database_url: str, by: signal.Signals
) -> None:
    async with AsyncExitStack() as stack:
        clients = [Client(server.url, thread=f"t{number}", agent="one", stays=True) for number in range(5)]
        asked = {}
        for client in clients:
            await stack.enter_async_context(client)
            asked[client] = await client.say(SHORT), await client.say("words=3")
        for client, (running, waiting) in asked.items():
            await client.until(lambda c, r=running, w=waiting: bool(c.view.shown.get(r)) and w in c.view.receipts)  # type: ignore[misc]
        assert await asyncio.to_thread(server.stop, by) == 0
        assert "Traceback" not in server.said()
        for number, client in enumerate(clients):
            await client.until(lambda c: bool(c.closes))
            assert client.closes[0][0] == 1012
            stored = await read_thread(database_url, f"t{number}")
            assert stored.log[0].payload["attempt"] == 1, "the running turn ended within the grace"
        await restarted(server)
        for client, (running, waiting) in asked.items():
            first, second = await client.answered(running, waiting)
            assert client.view.faults == []
            assert len(client.view.log) == 2
            assert is_speech([("human", SHORT), ("ai", first["message"]), ("human", "words=3")], second["message"])


@pytest.mark.asyncio
async def test_what_outlasts_the_grace_is_answered_by_the_next_start_in_a_higher_attempt(
    folder: Path, database_url: str
) -> None:
    with Server(folder, database_url=database_url, environment={"UNBROKEN_DRAIN_S": "0.1"}) as server:
        async with Client(server.url, thread="t", agent="one", stays=True) as client:
            first, second = await client.say(LONG), await client.say("words=3")
            await client.until(lambda c: bool(c.view.shown.get(first)) and second in c.view.receipts)
            assert await asyncio.to_thread(server.stop) == 0
            await restarted(server)
            answers = await client.answered(first, second)
        assert client.view.faults == []
        assert [answer["attempt"] for answer in answers] == [2, 3]
        assert is_speech([("human", LONG)], answers[0]["message"])
        reset = next(frame for frame in client.view.frames if frame["type"] == "reset" and frame["attempt"] == 2)
        assert reset["reason"] in {"retry", "takeover", "resync"}, "depending on who comes first"


@pytest.mark.asyncio
async def test_killed_with_its_own_database_it_adopts_the_database_and_goes_on(folder: Path) -> None:
    server = Server(folder)
    server.start()
    try:
        await asyncio.to_thread(server.wait_ready)
        async with Client(server.url, thread="t", agent="one", stays=True) as client:
            before = await client.say("before")
            await client.answered(before)
            request = await client.say(SHORT)
            await client.until(lambda c: bool(c.view.shown.get(request)))
            server.kill()
            await restarted(server)
            (answer,) = await client.answered(request)
        assert client.view.faults == []
        assert answer["attempt"] == 3
        history = [("human", "before"), ("ai", client.view.shown[before]), ("human", SHORT)]
        assert is_speech(history, answer["message"])
    finally:
        assert server.stop() == 0
