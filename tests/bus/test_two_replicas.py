"""Two servers over one database, whose polls never come: what crosses between them, hints carry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.bus.nats_server import NatsServer
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

NO_POLLS: Final = {f"UNBROKEN_{name}_POLL_S": "3600" for name in ("RECOVERY", "CANCEL", "EFFECT", "TIMER")}
Pair = tuple[Server, Server]


@pytest_asyncio.fixture(params=["postgres", "nats"])
async def pair(
    request: pytest.FixtureRequest, new_database: Callable[[int], str], tmp_path: Path
) -> AsyncIterator[Pair]:
    """They know that they are two."""
    url = new_database(18)
    async with NatsServer() as broker:
        bus = {"UNBROKEN_BUS_URL": broker.url} if request.param == "nats" else {}
        servers: list[Server] = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            servers.append(Server(tmp_path / name, database_url=url, environment=NO_POLLS | bus))
        with servers[0] as one, servers[1] as other:
            yield one, other
        said = servers[0].said() + servers[1].said()
        assert ("carries hints and messages" in said) == (request.param == "nats")
        assert ("travel by LISTEN/NOTIFY" in said) == (request.param == "postgres")
        assert "Traceback" not in said


async def test_what_happens_at_one_replica_is_known_at_the_other_without_a_poll(pair: Pair) -> None:
    await both_see_what_each_says(*pair)
    await a_cancel_reaches_the_turn(*pair)
    await a_message_reaches_the_owner(*pair)


async def both_see_what_each_says(one: Server, other: Server) -> None:
    async with Client(one.url, thread="t", agent="one") as near, Client(other.url, thread="t", agent="one") as far:
        for number in range(6):
            speaker, watcher = (near, far) if number % 2 == 0 else (far, near)
            request = await speaker.say(f"{number} words=3")
            await speaker.answered(request)
            await watcher.until(lambda client: request in client.view.ends)  # noqa: B023
        assert near.view.faults == far.view.faults == []


async def a_cancel_reaches_the_turn(one: Server, other: Server) -> None:
    async with Client(one.url, thread="c", agent="one") as near, Client(other.url, thread="c", agent="one") as far:
        request = await near.say("long words=5000 pause=0.05")
        await near.until(lambda client: any(frame["type"] == "token" for frame in client.view.frames))
        await far.cancel(request)
        await near.until(lambda client: request in client.view.ends)
        assert near.view.ends[request]["type"] == "cancelled"


async def a_message_reaches_the_owner(one: Server, other: Server) -> None:
    async with Client(one.url, thread="m", agent="one") as near, Client(other.url, thread="m", agent="one") as far:
        first = await near.say("long words=40 pause=0.05")
        await near.until(lambda client: any(frame["type"] == "token" for frame in client.view.frames))
        second = await far.say("second words=2")
        await near.answered(first)
        await near.until(lambda client: second in client.view.ends)
        await far.until(lambda client: second in client.view.ends)
