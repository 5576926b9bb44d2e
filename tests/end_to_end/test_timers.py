"""Timers end to end: set by a node, fired by the server, answered like a message, cancelled by the next one."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.end_to_end.client import PATIENCE_S, Client
from tests.end_to_end.conftest import Serving
from tests.end_to_end.tables import read_thread
from tests.end_to_end.view import Frame


async def timers(serving: Serving, thread: str) -> list[str]:
    """Status of each timer ever set in a thread."""
    connection = await asyncpg.connect(serving.database_url)
    try:
        rows = await connection.fetch("SELECT status FROM timers WHERE thread_id = $1 ORDER BY generation", thread)
        return [row["status"] for row in rows]
    finally:
        await connection.close()


async def set_to(serving: Serving, thread: str, status: str) -> None:
    """Until the thread's one timer has this status: it is set after the answer is out."""
    async with asyncio.timeout(PATIENCE_S):
        while await timers(serving, thread) != [status]:
            pass


def follow_ups(client: Client) -> list[Frame]:
    return [frame for frame in client.view.log if frame.get("origin") == "agent"]


@pytest.mark.asyncio
async def test_a_timer_that_fires_is_followed_up_by_the_agent_in_every_tab(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread, agent="reminding") as client:
        async with Client(serving.url, thread=thread, agent="reminding") as other:
            request = await client.say("remind=0.2")
            (answer,) = await client.answered(request)
            assert answer["origin"] == "user"
            for tab in (client, other):
                await tab.until(lambda c: len(follow_ups(c)) == 1)
                assert tab.view.faults == []
        (follow_up,) = follow_ups(client)
        assert follow_up["requestId"] not in client.view.users, "nobody said anything"
        assert follow_up["cursor"] == answer["cursor"] + 1
    stored = await read_thread(serving.database_url, thread)
    while any(effect.status == "executing" for effect in stored.effects):  # it was done, and is being marked so
        stored = await read_thread(serving.database_url, thread)
    assert [event.type for event in stored.events] == ["user_message", "timer_fired"]
    assert stored.events[1].payload["payload"] == {"set by": stored.events[0].id}
    assert [effect.status for effect in stored.effects if effect.type == "schedule_timer"] == ["completed"]
    assert await timers(serving, thread) == ["fired"]


@pytest.mark.asyncio
async def test_the_next_message_cancels_a_pending_timer(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread, agent="reminding") as client:
        await client.answered(await client.say("remind=3600"))
        await set_to(serving, thread, "pending")
        await client.answered(await client.say("never mind"))
        assert await timers(serving, thread) == ["cancelled"]
        await client.answered(await client.say("remind=0.1"))
        await client.until(lambda c: len(follow_ups(c)) == 1)
    assert await timers(serving, thread) == ["cancelled", "fired"]
    assert client.view.faults == []
