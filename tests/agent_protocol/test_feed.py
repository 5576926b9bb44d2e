"""What one connection's subscriptions are told of a session, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from tests.agent_protocol.told import brief
from tests.application.puppet import SETTLE_S, Puppet
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.agent_protocol.feed import HOLD_S, Feed
from unbroken.entrypoints.agent_protocol.wire import Event, Filter

WATCH = Filter(["lifecycle"])
ENDED = [("lifecycle", "running"), ("lifecycle", "completed")]


def fed(node: Node) -> Feed:
    store = node.world.store
    service: Any = SimpleNamespace(sessions=store.sessions, outbox=store.outbox, subscribe=node.subscribe)

    async def key() -> SessionKey:
        return KEY

    return Feed(service, key, lambda: 0)


@asynccontextmanager
async def heard(feed: Feed) -> AsyncIterator[list[Event]]:
    events: list[Event] = []

    async def hear() -> None:
        while True:
            events.extend(await feed.next())

    task = asyncio.create_task(hear())
    try:
        yield events
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        feed.close()


async def at_rest() -> tuple[Node, Puppet]:
    node = await World().replica()
    puppet = Puppet(node)
    await node.say("hello")
    await puppet.say("one")
    await puppet.finish()
    return node, puppet


@virtual
async def test_a_watch_that_is_held_back_holds_back_nothing_else() -> None:
    """A socket's responses go out between two looks: that of the watch itself, too, for which its client waits before
    it starts a run."""
    node, _ = await at_rest()
    feed = fed(node)
    feed.add("watch", WATCH)
    begun = asyncio.get_running_loop().time()
    for _ in range(3):
        feed.interrupt()
        assert await feed.next() == []
    assert asyncio.get_running_loop().time() == begun
    while not (events := await feed.next()):
        assert asyncio.get_running_loop().time() <= begun + HOLD_S
    assert brief(events) == ENDED
    feed.close()


@virtual
async def test_a_watch_is_not_told_the_end_of_the_turn_before_the_one_that_its_client_starts() -> None:
    node, puppet = await at_rest()
    feed = fed(node)
    feed.add("watch", WATCH)
    async with heard(feed) as events:
        await asyncio.sleep(HOLD_S / 2)
        feed.interrupt()
        await node.say("again")
        await puppet.say("two")
        await asyncio.sleep(2 * HOLD_S)
        assert brief(events) == ENDED[:1]
        await puppet.finish()
        await asyncio.sleep(SETTLE_S)
    assert brief(events) == ENDED


@virtual
async def test_a_watch_is_told_of_a_run_that_began_and_ended_while_its_client_was_answered() -> None:
    node, puppet = await at_rest()
    feed = fed(node)
    feed.add("watch", WATCH)
    feed.interrupt()
    assert await feed.next() == []
    await node.say("again")
    await puppet.say("two")
    await puppet.finish()
    begun = asyncio.get_running_loop().time()
    assert brief(await feed.next()) == ENDED
    assert asyncio.get_running_loop().time() == begun, "it is no news of long ago"
    feed.close()
