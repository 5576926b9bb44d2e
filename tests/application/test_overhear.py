"""What replicas tell each other, over a hub that a test may cut: only latency is ever at stake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.application.reader import Reader
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, remembered, until
from unbroken.adapters.in_process.hub import Hub
from unbroken.application import overhear as overhear_module
from unbroken.application.overhear import READERS
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import SessionKey, SessionView

WITHIN_S = 0.2
"""Shorter than any poll of these replicas."""


def joined() -> World:
    """A world in which what is told arrives."""
    world = World()
    world.hub.carry = Hub().carry
    return world


async def slow(attempt: Attempt) -> str:
    attempt.text("m", "a long ")
    await asyncio.sleep(30)
    attempt.text("m", "answer")
    return "a long answer"


def key(number: int) -> SessionKey:
    return SessionKey("ann", "demo", f"thread-{number}")


async def seen_soon(condition: Callable[[], bool]) -> None:
    await until(condition, limit_s=WITHIN_S)


@virtual
async def test_who_follows_a_session_elsewhere_sees_message_and_answer_without_a_poll() -> None:
    world = joined()
    here, there = await world.replica("a"), await world.replica("b")
    reader = Reader(await there.subscribe(KEY, cursor=0))
    async with reader.following():
        await here.say("hello")
        await seen_soon(lambda: len(reader.users) == 1)
        await here.ended()
        await seen_soon(lambda: len(reader.log) == 1)
    reader.close()


@virtual
async def test_a_message_accepted_elsewhere_is_run_by_the_owner_after_its_turn_and_shown_to_its_readers_at_once() -> (
    None
):
    world = joined()
    owner, other = await world.replica("a"), await world.replica("b")
    owner.agent.script = slow
    reader = Reader(await owner.subscribe(KEY, cursor=0))
    async with reader.following():
        await owner.say("first")
        await until(lambda: owner.agent.running == 1)
        assert not (await other.say("second")).claim
        await seen_soon(lambda: len(reader.users) == 2)
        await owner.ended()
        await until(lambda: len(reader.log) == 2)
    assert not other.agent.runs
    reader.close()
    await world.check()


@virtual
async def test_a_cancel_accepted_elsewhere_ends_the_turn_without_a_poll() -> None:
    world = joined()
    owner, other = await world.replica("a"), await world.replica("b")
    owner.agent.script = slow
    receipt = await owner.say("hello")
    await until(lambda: owner.agent.running == 1)
    await asyncio.sleep(0.1)
    await other.cancel(KEY, receipt.event.request_id)
    await seen_soon(lambda: owner.agent.running == 0)
    await owner.ended()
    assert await world.ends() == ["cancelled: a long "]


@virtual
async def test_a_cancel_of_what_runs_here_is_told_to_nobody() -> None:
    world = joined()
    owner, other = await world.replica("a"), await world.replica("b")
    owner.agent.script = slow
    receipt = await owner.say("hello")
    await until(lambda: owner.agent.running == 1)
    told = listened(other)
    await owner.cancel(KEY, receipt.event.request_id)
    await asyncio.sleep(0)
    assert not told
    await owner.ended()
    await until(lambda: told == [(KEY.thread_id, False)])


def listened(node: Node) -> list[tuple[str, bool]]:
    told: list[tuple[str, bool]] = []
    node.wakeups.listen(lambda _: None, lambda thread_id, free: told.append((thread_id, free)))
    return told


async def left_behind(world: World, threads: list[SessionKey]) -> Node:
    """Sessions with work, and a replica that owned them and has left."""
    gone = await world.replica("gone")
    gone.agent.script = slow
    for thread in threads:
        await gone.say("hello", thread)
    await until(lambda: gone.agent.running == len(threads))
    await gone.stop()
    return gone


@virtual
async def test_a_free_session_is_taken_where_it_is_followed_at_once() -> None:
    world = joined()
    gone = await left_behind(world, [KEY])
    near, far = await world.replica("near"), await world.replica("far")
    reader = Reader(await near.subscribe(KEY, cursor=0))
    gone.wakeups.hint(KEY.thread_id, free=True)
    await until(lambda: bool(near.agent.runs), limit_s=0.04)
    await near.ended()
    await asyncio.sleep(1)
    assert not far.agent.runs
    reader.close()
    await world.check()


@virtual
async def test_free_sessions_that_nobody_follows_are_shared_within_a_quarter_of_a_second() -> None:
    world = joined()
    threads = [key(number) for number in range(60)]
    gone = await left_behind_with_slots(world, threads)
    survivors = [await world.replica(name, slots=100) for name in ("a", "b", "c")]
    for thread in threads:
        gone.wakeups.hint(thread.thread_id, free=True)
    await asyncio.sleep(0.04)
    assert not any(node.agent.runs for node in survivors)
    await until(lambda: sum(len(node.agent.runs) for node in survivors) == len(threads), limit_s=0.3)
    for thread in threads:
        await survivors[0].ended(thread)
    shares = [len(node.agent.runs) for node in survivors]
    assert sum(shares) == len(threads)
    assert min(shares) >= 8, shares
    await asyncio.sleep(0.3)  # each has looked once where another was first
    assert all(remembered(node.overhear) == 0 for node in survivors)


async def left_behind_with_slots(world: World, threads: list[SessionKey]) -> Node:
    gone = await world.replica("gone", slots=100)
    gone.agent.script = slow
    for thread in threads:
        await gone.say("hello", thread)
    await until(lambda: gone.agent.running == len(threads))
    await gone.stop()
    return gone


@virtual
async def test_what_nobody_works_on_or_follows_here_costs_nothing() -> None:
    world = joined()
    here, there = await world.replica("a"), await world.replica("b")
    asked: list[str] = []
    world.store.sessions.claim = noting(world.store.sessions.claim, asked)  # type: ignore[method-assign]
    world.store.sessions.view = noting(world.store.sessions.view, asked)  # type: ignore[method-assign]
    world.store.controls.marked = noting(world.store.controls.marked, asked)  # type: ignore[method-assign]
    told = listened(there)
    await here.say("hello")
    await until(lambda: len(told) == 2)
    await asyncio.sleep(1)
    assert not asked, "neither by who gives hints, nor by who overhears them"
    assert not there.overhear._tasks


def noting(call: Any, asked: list[str]) -> Any:
    def noted(*args: Any, **kwargs: Any) -> Any:
        asked.append(call.__name__)
        return call(*args, **kwargs)

    return noted


@virtual
async def test_what_is_told_a_thousand_times_is_read_at_most_twice() -> None:
    world = joined()
    node = await world.replica("a")
    reader = Reader(await node.subscribe(KEY, cursor=0))
    read: list[str] = []
    world.store.sessions.view = noting(world.store.sessions.view, read)  # type: ignore[method-assign]
    node.overhear.overheard(KEY.thread_id, False)
    await asyncio.sleep(0)
    for _ in range(1_000):
        node.overhear.overheard(KEY.thread_id, False)
    assert len(node.overhear._tasks) <= READERS
    await asyncio.sleep(1)
    assert len(read) == 2
    assert remembered(node.overhear) == 0
    reader.close()


@virtual
async def test_many_followed_sessions_are_read_by_few_tasks_and_each_is() -> None:
    world = joined()
    node, other = await world.replica("a"), await world.replica("b")
    readers = [Reader(await node.subscribe(key(number), cursor=0)) for number in range(40)]
    most = 0
    view = world.store.sessions.view
    under_way = 0

    async def counted(thread_id: str) -> SessionView | None:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        try:
            return await view(thread_id)
        finally:
            under_way -= 1

    world.store.sessions.view = counted  # type: ignore[method-assign]
    await asyncio.gather(*(other.say("hello", key(number)) for number in range(40)))
    for number, reader in enumerate(readers):
        async with reader.following():
            await until(lambda: len(reader.log) == 1, limit_s=1.0)  # noqa: B023
            await other.ended(key(number))
        reader.close()
    assert 1 < most <= READERS + 1, "the test's own look is the last one"


@virtual
async def test_a_stranger_on_the_same_thread_id_learns_nothing_and_disturbs_nobody() -> None:
    world = joined()
    node, other = await world.replica("a"), await world.replica("b")
    stranger = SessionKey("eve", "demo", KEY.thread_id)
    followed = Reader(await node.subscribe(stranger, cursor=0)), Reader(await node.subscribe(KEY, cursor=0))
    await other.say("hello")
    await other.ended()
    await asyncio.sleep(0.1)
    for reader in followed:
        await reader.drain()
    assert [len(reader.log) for reader in followed] == [0, 1]
    for reader in followed:
        reader.close()
    assert not node.live._by_thread


@virtual
async def test_a_store_that_is_away_when_something_is_told_costs_a_poll_and_nothing_else() -> None:
    world = joined()
    node, other = await world.replica("a"), await world.replica("b")
    reader = Reader(await node.subscribe(KEY, cursor=0))
    view = world.store.sessions.view
    refused = 0

    async def refusing(thread_id: str) -> SessionView | None:
        nonlocal refused
        refused += 1
        raise StoreUnavailable("away")

    world.store.sessions.view = refusing  # type: ignore[method-assign]
    await other.say("hello")
    await until(lambda: refused > 0 and not len(other.queue))
    await asyncio.sleep(0.1)
    world.store.sessions.view = view  # type: ignore[method-assign]
    assert remembered(node.overhear) == 0
    node.poll()
    async with reader.following():
        await until(lambda: len(reader.log) == 1)
    reader.close()
    await node.stop()


@virtual
async def test_free_sessions_wait_in_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhear_module, "MOST_FREE", 10)
    node = await joined().replica("a")
    for number in range(1_000):
        node.overhear.overheard(f"thread-{number}", True)
    assert len(node.overhear._free) == 10
    assert len(node.overhear._tasks) == 1
    await asyncio.sleep(1)
    assert remembered(node.overhear) == 0


@virtual
async def test_closing_ends_everything_under_way() -> None:
    world = joined()
    node = await world.replica("a")
    reader = Reader(await node.subscribe(KEY, cursor=0))
    node.overhear.overheard(KEY.thread_id, False)
    node.overhear.overheard("t2", True)
    await asyncio.sleep(0)
    assert len(node.overhear._tasks) == 2
    await node.overhear.close()
    assert not node.overhear._tasks
    reader.close()


@pytest.mark.parametrize("seed", range(12))
def test_lost_doubled_late_and_reordered_words_harm_nothing(seed: int) -> None:
    @virtual
    async def scenario() -> None:
        world, random = World(), Random(seed)

        def carry(deliver: Callable[[], None]) -> None:
            for _ in range(random.choice((0, 1, 1, 3))):
                asyncio.get_running_loop().call_later(random.random() * random.choice((0.01, 2.0)), deliver)

        world.hub.carry = carry
        nodes = [await world.replica(name) for name in ("a", "b", "c")]
        for node in nodes:
            node.poll()
        readers = [Reader(await node.subscribe(KEY, cursor=0)) for node in nodes]
        for number in range(12):
            await random.choice(nodes).say(f"m{number}")
            random.choice(nodes).wakeups.hint(KEY.thread_id, free=random.random() < 0.3)
            await asyncio.sleep(random.random())
        await nodes[0].ended()
        await world.check()
        log = await world.log()
        for reader in readers:
            await reader.follow_to(len(log))
            assert reader.log == log
            reader.close()
        for node in nodes:
            await node.stop()

    scenario()


@virtual
async def test_that_a_look_took_a_session_over_is_told_to_the_others() -> None:
    world = joined()
    await left_behind(world, [KEY])
    heir, other = await world.replica("a"), await world.replica("b")
    heir.agent.script = slow
    told = listened(other)
    heir.wakeups.hint(KEY.thread_id)
    await until(lambda: heir.agent.running == 1)
    await asyncio.sleep(0)
    assert told == [(KEY.thread_id, False)] * 2, "the hint, and that the look has found something"
    await other.stop()
    await heir.stop()
