"""A question is answered after its asker was killed: by another client, at another replica, and where it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest
from langgraph_sdk import get_client

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


async def by_run(url: str, thread: str, question: str, answer: str) -> None:
    async with get_client(url=url) as client:
        await client.runs.wait(thread, "fanning", command={"resume": {question: answer}})


def by_stream(transport: Literal["sse", "websocket"]) -> Callable[[str, str, str, str], Awaitable[None]]:
    async def answered(url: str, thread: str, question: str, answer: str) -> None:
        async with (
            get_client(url=url) as client,
            client.threads.stream(thread, assistant_id="fanning", transport=transport) as stream,
        ):
            for _ in range(600):
                if stream.interrupted:
                    break
                await asyncio.sleep(0.05)
            assert [one["interrupt_id"].partition(":")[0] for one in stream.interrupts] == [question.partition(":")[0]]
            await stream.run.respond(answer)

    return answered


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answering", [by_run, by_stream("sse"), by_stream("websocket")], ids=["run", "sse", "websocket"]
)
async def test_a_client_of_langgraph_answers_elsewhere_what_a_chat_was_asked(
    folder: Path, new_database: Callable[[int], str], answering: Callable[[str, str, str, str], Awaitable[None]]
) -> None:
    """Whoever was asked over chat frames reads the answer there, after its own replica was killed."""
    database_url, thread = new_database(18), str(uuid4())
    with two_replicas(folder, database_url) as (a, b):
        async with Client(a.url, thread=thread, agent="fanning", stays=True) as chat:
            await chat.answered(await chat.say("deep=2 asks=1 words=3"))
            (question,) = await asked(chat, 1)
            a.kill()
            chat.moves_to(b.url)
            await answering(b.url.replace("ws:", "http:"), thread, question, "blue")
            await chat.until(lambda c: len(c.view.ends) == 2, patience_s=100.0)
            (last,) = [end for end in chat.view.ends.values() if not end["waiting"]]
            assert last["message"].startswith("done: thought 100, 100 blue, thought 101, 101")
            assert [frame["outcome"] for frame in chat.view.log if frame["type"] == "answered"] == ["answered"]
            assert chat.view.faults == []
    await ended_once(database_url, thread, 2)


async def ended_once(database_url: str, thread: str, events: int) -> None:
    stored = await read_thread(database_url, thread)
    ends = [effect.event_seq for effect in stored.log if effect.type == "send_message"]
    assert ends == list(range(1, events + 1))
    assert stored.applied_seq == events
