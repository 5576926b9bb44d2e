"""A question is answered after its asker was killed: by another client, at another replica, and where it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread
from tests.end_to_end.view import Frame

BOTH_MODES = pytest.mark.parametrize("agent", ["fanning", "fanning-whole"])
ASKING = "fan=2 deep=2 asks=1 words=3"
"""Four parts, two of them graphs of their own; one of each kind asks."""
ENVIRONMENT = {"UNBROKEN_LEASE_TTL_S": "2", "UNBROKEN_HEARTBEAT_S": "0.4", "UNBROKEN_RETRY_BACKOFF_S": "0.05"}


@contextmanager
def two_replicas(folder: Path, database_url: str) -> Iterator[tuple[Server, Server]]:
    servers = []
    for name in ("a", "b"):
        (folder / name).mkdir()
        servers.append(Server(folder / name, database_url=database_url, environment=ENVIRONMENT))
    with servers[0], servers[1]:
        yield servers[0], servers[1]


def questions(client: Client) -> list[Frame]:
    return [frame for frame in client.view.log if frame["type"] == "question"]


async def asked(client: Client, count: int) -> list[str]:
    await client.until(lambda c: len(questions(c)) >= count)
    return [frame["interruptId"] for frame in questions(client)]


@pytest.mark.asyncio
@BOTH_MODES
async def test_another_client_at_another_replica_answers_what_a_killed_one_asked(
    folder: Path, new_database: Callable[[int], str], thread: str, agent: str
) -> None:
    database_url = new_database(18)
    with two_replicas(folder, database_url) as (a, b):
        async with Client(a.url, thread=thread, agent=agent, stays=True) as first:
            asking = await first.say(ASKING)
            (end,) = await first.answered(asking)
            assert end["waiting"] is True
            one, two = await asked(first, 2)
            a.kill()
            async with Client(b.url, thread=thread, agent=agent, cursor=0) as second:
                assert await asked(second, 2) == [one, two]
                early = await second.respond(two, "blue")
                await second.answered(early)
                assert len(questions(second)) == 2, "what is open still is not asked again"
                a.start()
                await second.until(lambda c: early in c.view.ends)
                late = await first.respond(one, "red")
                (final,) = await first.answered(late, patience_s=100.0)
                assert final["message"].startswith("done: 100 red, 101, thought 100, 100 blue, thought 101, 101")
                assert (await second.answered(late)) == [final]
                outcomes = [frame["outcome"] for frame in second.view.log if frame["type"] == "answered"]
                assert outcomes == ["answered", "answered"]
            assert first.view.faults == second.view.faults == []
    await ended_once(database_url, thread, 3)


@pytest.mark.asyncio
@BOTH_MODES
async def test_an_answer_that_a_killed_replica_was_at_is_gone_on_with_by_the_other_one(
    folder: Path, new_database: Callable[[int], str], thread: str, agent: str
) -> None:
    """The part that asked is at work on the answer; who gave it has moved to the other replica, as others do."""
    database_url = new_database(18)
    with two_replicas(folder, database_url) as (a, b):
        async with (
            Client(a.url, thread=thread, agent=agent, stays=True) as first,
            Client(b.url, thread=thread, agent=agent, cursor=0) as second,
        ):
            asking = await first.say("deep=2 asks=1 words=30 pause=0.05")
            await first.answered(asking)
            (one,) = await asked(second, 1)
            reply = await first.respond(one, "red")
            await first.until(lambda c: len(c.view.shown.get(reply, "")) > 80)
            first.moves_to(b.url)
            a.kill()
            (final,) = await second.answered(reply, patience_s=100.0)
            assert await first.answered(reply) == [final]
            assert final["message"].startswith("done: thought 100, 100 red, thought 101, 101\n\n")
            assert final["attempt"] > 2, "the one that was killed counts"
            assert first.view.faults == second.view.faults == []
    await ended_once(database_url, thread, 2)


async def ended_once(database_url: str, thread: str, events: int) -> None:
    stored = await read_thread(database_url, thread)
    ends = [effect.event_seq for effect in stored.log if effect.type == "send_message"]
    assert ends == list(range(1, events + 1))
    assert stored.applied_seq == events
