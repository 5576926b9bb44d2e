"""A deleted thread: its attempt goes silent, its readers are told, and the process remembers nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.reader import Reader
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, remembered, until
from unbroken.application.delete_thread import DeleteThread
from unbroken.application.expire_threads import (
    LEAST_REST_S,
    TEMPORARY_IDLE_S,
    of_silent_threads,
    of_temporary_threads,
)
from unbroken.domain.errors import NotYourThread, ThreadDeleted, UnknownFile
from unbroken.domain.events import RunStart, UserMessage
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import SessionKey

DAY_S = 86_400.0


async def long(attempt: Attempt) -> str:
    attempt.text("m", "a long ")
    await asyncio.sleep(30)
    attempt.text("m", "answer")
    return "a long answer"


def deleting(node: Node) -> DeleteThread:
    return DeleteThread(
        threads=node.world.store.threads, queue=node.queue, live=node.live, clock=node.world.clock, interval_s=1.0
    )


async def read_on(reader: Reader) -> None:
    async with asyncio.timeout(5):
        while True:
            await reader.take()


async def gone(reader: Reader) -> None:
    with pytest.raises(ThreadDeleted):
        await read_on(reader)


async def nothing_is_remembered(node: Node) -> None:
    await until(lambda: not len(node.queue))
    assert remembered(node.live) == 0
    assert remembered(node.queue) == 0
    assert remembered(node.processor) == 0


@virtual
async def test_a_turn_whose_thread_is_deleted_goes_silent_and_its_readers_are_told() -> None:
    world = World()
    node = await world.replica()
    node.agent.script = long
    await node.say("one")
    await node.say("two")
    await until(lambda: node.agent.running == 1)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    before = asyncio.get_running_loop().time()
    await deleting(node)("ann", KEY.thread_id)
    await gone(reader)
    assert reader.text == "a long "
    reader.subscription.close()
    await until(lambda: node.agent.running == 0)
    assert asyncio.get_running_loop().time() - before < 2
    await nothing_is_remembered(node)
    assert not world.store.database.agent_states
    with pytest.raises(ThreadDeleted):
        await node.say("three")
    with pytest.raises(ThreadDeleted):
        await node.subscribe(KEY, cursor=0)


@pytest.mark.parametrize("erased", [False, True])
@virtual
async def test_a_thread_deleted_elsewhere_is_noticed_within_a_poll(erased: bool) -> None:
    world = World()
    node = await world.replica()
    node.poll()
    node.agent.script = long
    poll = asyncio.create_task(deleting(node).forever())
    await node.say("one")
    await until(lambda: node.agent.running == 1)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    unborn = Reader(await node.subscribe(SessionKey("ann", "demo", "unborn"), cursor=0))
    if erased:
        await world.store.user_data.erase("ann")
    else:
        await world.store.threads.delete("ann", KEY.thread_id)
    await gone(reader)
    reader.subscription.close()
    await until(lambda: node.agent.running == 0)
    await unborn.drain()
    unborn.subscription.close()
    await nothing_is_remembered(node)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    await node.stop()


@virtual
async def test_an_attempt_that_outlives_its_thread_unnoticed_leaves_nothing_behind() -> None:
    """Nobody polls: the fence alone has to do."""
    world = World()
    node = await world.replica()
    node.agent.script = long
    await node.say("one")
    await until(lambda: node.agent.running == 1)
    await world.store.user_data.erase("ann")
    await until(lambda: node.agent.running == 0)
    await nothing_is_remembered(node)
    assert not world.store.database.sessions
    assert not world.store.database.agent_states


@virtual
async def test_only_the_owner_deletes() -> None:
    world = World()
    node = await world.replica()
    await node.say("one")
    await node.ended()
    with pytest.raises(NotYourThread):
        await deleting(node)("bob", KEY.thread_id)
    assert len(await world.log()) == 1


@virtual
async def test_threads_are_kept_for_as_many_days_as_they_are_to_be() -> None:
    world = World()
    node = await world.replica()
    await node.say("one")
    await node.ended()
    keeping, forever = [
        of_silent_threads(user_data=world.store.user_data, delete=deleting(node), clock=world.clock, days=days)
        for days in (30, None)
    ]
    await asyncio.sleep(29 * DAY_S)
    assert await keeping.once()
    assert len(await world.log()) == 1
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    await asyncio.sleep(DAY_S)
    assert await forever.once()
    assert len(await world.log()) == 1
    assert await keeping.once()
    await gone(reader)
    reader.subscription.close()
    await nothing_is_remembered(node)


@virtual
async def test_the_walk_outlives_a_store_that_does_not_answer() -> None:
    world = World()
    node = await world.replica()
    await node.say("one")
    await node.ended()
    retain = of_silent_threads(user_data=world.store.user_data, delete=deleting(node), clock=world.clock, days=1)
    await asyncio.sleep(2 * DAY_S)
    world.trouble.refuse("expire")
    walk = asyncio.create_task(retain.forever())
    await until(lambda: world.store.database.sessions[KEY.thread_id].deleted)
    walk.cancel()
    await asyncio.gather(walk, return_exceptions=True)


@virtual
async def test_the_thread_of_a_run_goes_by_itself_when_nobody_has_deleted_it() -> None:
    """Its process died between the run's end and the deletion; another one finds it, and whoever watches is told."""
    world = World()
    first, second = await world.replica("a"), await world.replica("b")
    await first.accept(KEY, "run", RunStart({}, client={"temporary": True}))
    await first.ended()
    await first.crash()
    await second.say("hello", SessionKey("ann", "demo", "kept"))
    await second.ended(SessionKey("ann", "demo", "kept"))
    reader = Reader(await second.subscribe(KEY, cursor=0))
    await reader.drain()
    sweep = of_temporary_threads(user_data=world.store.user_data, delete=deleting(second), clock=world.clock)
    assert await sweep.once()
    assert len(await world.log()) == 1, "who was cut off may come back for a while"
    world.trouble.refuse("expire_temporary")
    sweeping = asyncio.create_task(sweep.forever())
    await until(
        lambda: world.store.database.sessions[KEY.thread_id].deleted, limit_s=TEMPORARY_IDLE_S + 3 * LEAST_REST_S
    )
    await gone(reader)
    reader.subscription.close()
    assert not world.store.database.sessions["kept"].deleted
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


@virtual
async def test_a_message_that_refers_to_a_file_of_another_thread_is_refused_and_stores_nothing() -> None:
    world = World()
    node = await world.replica()
    other = SessionKey("ann", "demo", "other")
    await world.store.threads.create(other)
    await world.store.files.add("ann", "other", file_id="f", name="a", mime_type="text/plain", data=b"x", limit=9)
    body = UserMessage([{"type": "file", "file_id": "f"}])
    with pytest.raises(UnknownFile):
        await node.accept(KEY, "request", body)
    assert KEY.thread_id not in world.store.database.sessions
    await node.accept(other, "request", body)
    await node.ended(other)
