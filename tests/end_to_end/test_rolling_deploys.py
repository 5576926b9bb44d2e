"""Every replica is replaced under load, one after another: clients reconnect, and nothing else happens to anybody."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from tests.end_to_end.balancer import Balancer
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server

TALKERS = 8
SLOW = "words=12 pause=0.05"
SETTINGS = {"UNBROKEN_DRAIN_S": "0.3", "UNBROKEN_STOP_LIMIT_S": "25", "UNBROKEN_LEASE_TTL_S": "600"}
"""A lease that nobody can wait for: what is not handed over is seen."""

NOTES = "SELECT thread_id, attempts FROM effects WHERE ordinal = 0 ORDER BY thread_id, event_seq"


async def talk(client: Client, stop: asyncio.Event) -> list[str]:
    """One message after another until told to stop, two at a time: one runs, and one waits behind it."""
    asked: list[str] = []
    while not stop.is_set():
        asked += [await client.say(SLOW), await client.say("words=3 pause=0.02")]
        await client.answered(*asked[-2:])
    return asked


async def replaced(server: Server) -> None:
    assert await asyncio.to_thread(server.stop) == 0
    server.start()
    await asyncio.to_thread(server.wait_ready)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_rolling_restart_costs_clients_a_reconnect_and_messages_nothing(
    folder: Path, database_url: str
) -> None:
    servers = []
    for name in "ab":
        (folder / name).mkdir()
        servers.append(Server(folder / name, database_url=database_url, environment=SETTINGS))
    async with AsyncExitStack() as stack:
        for server in servers:
            await asyncio.to_thread(server.__enter__)
            stack.push_async_callback(asyncio.to_thread, server.__exit__, None, None, None)
        balancer = await stack.enter_async_context(Balancer([server.port for server in servers]))
        while len(balancer.ready) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        agents = ("three", "one", "turn", "tool")
        clients = [
            await stack.enter_async_context(
                Client(balancer.url, thread=f"t{number}", agent=agents[number % len(agents)], stays=True)
            )
            for number in range(TALKERS)
        ]
        stop = asyncio.Event()
        talks = [asyncio.create_task(talk(client, stop)) for client in clients]
        for client in clients:
            await client.until(lambda c: len(c.view.ends) >= 1)
        for server in servers:
            ends = [len(client.view.ends) for client in clients]
            await replaced(server)
            for client, before in zip(clients, ends, strict=True):
                await client.until(lambda c, before=before: len(c.view.ends) > before + 1)  # type: ignore[misc]
        stop.set()
        for client, asked in zip(clients, await asyncio.gather(*talks), strict=True):
            assert client.view.faults == []
            assert {code for code, _ in client.closes} <= {1012}, client.closes
            assert len(client.view.log) == len(asked), "each message has one end, once"
            assert {client.view.ends[request]["type"] for request in asked} == {"final"}
        assert any(client.closes for client in clients), "nobody was sent away: the deploy met nobody"
    notes = await stored_notes(database_url)
    repeated = [attempts for attempts in notes if len(attempts) > 1]
    assert repeated, "no turn was under way when its replica was told to stop"
    for attempts in repeated:
        assert all(note.get("released") for note in attempts[:-1]), attempts


async def stored_notes(url: str) -> list[list[dict[str, object]]]:
    connection = await asyncpg.connect(url)
    try:
        return [json.loads(row["attempts"]) for row in await connection.fetch(NOTES)]
    finally:
        await connection.close()
