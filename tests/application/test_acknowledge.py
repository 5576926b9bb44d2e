"""Marks of what was sent and acknowledged: they only grow, and trouble costs them freshness only."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World
from unbroken.domain.errors import AckAhead, StoreUnavailable
from unbroken.domain.session import SessionKey


async def watched(world: World, turns: int = 3) -> Node:
    """A replica with a session of some turns that somebody reads."""
    node = await world.replica()
    await node.subscribe(KEY, cursor=0)
    for number in range(turns):
        await node.say(str(number))
        await node.ended()
    return node


def marks(world: World) -> tuple[int, int]:
    found = world.store.database.marks[KEY.thread_id]
    return found.sent, found.acked


@virtual
async def test_an_ack_ahead_of_the_log_is_refused_and_marks_nothing() -> None:
    world = World()
    node = await watched(world)
    for cursor in (4, 5_000, -1):
        with pytest.raises(AckAhead) as refusal:
            node.acknowledge.acked(KEY, cursor)
        assert (refusal.value.cursor, refusal.value.log_index) == (cursor, 3)
    await node.acknowledge.flush()
    assert KEY.thread_id not in world.store.database.marks


@virtual
async def test_a_session_that_nobody_follows_here_has_handed_out_nothing() -> None:
    world = World()
    node = await world.replica()
    with pytest.raises(AckAhead):
        node.acknowledge.acked(KEY, 1)


@virtual
async def test_many_marks_cost_one_statement() -> None:
    world = World()
    node = await watched(world)
    for cursor in (1, 2, 3):
        node.acknowledge.sent(KEY, cursor)
        node.acknowledge.acked(KEY, cursor)
    await node.acknowledge.flush()
    await node.acknowledge.flush()
    assert marks(world) == (3, 3)
    assert world.trouble.calls.count("mark") == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.tuples(st.booleans(), st.integers(0, 3)), st.sampled_from(["flush", "fail", "cancel"]))))
def test_marks_are_never_lowered_and_survive_a_store_that_fails(steps: list[tuple[bool, int] | str]) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await watched(world)
        best = [0, 0]
        for step in steps:
            if isinstance(step, tuple):
                acks, cursor = step
                (node.acknowledge.acked if acks else node.acknowledge.sent)(KEY, cursor)
                best[acks] = max(best[acks], cursor)
            elif step == "flush":
                await node.acknowledge.flush()
            elif step == "fail":
                world.trouble.down = True
                await asyncio.gather(node.acknowledge.flush(), return_exceptions=True)
                world.trouble.down = False
            else:
                flushing = asyncio.create_task(node.acknowledge.flush())
                await asyncio.sleep(0)
                flushing.cancel()
                await asyncio.gather(flushing, return_exceptions=True)
        await node.acknowledge.flush()
        if any(isinstance(step, tuple) for step in steps):
            assert marks(world) == tuple(best)

    scenario()


@virtual
async def test_what_comes_while_a_flush_fails_is_not_overwritten_by_it() -> None:
    world = World()
    node = await watched(world)
    node.acknowledge.sent(KEY, 1)
    node.acknowledge.acked(KEY, 1)
    world.trouble.refuse("mark")
    flushing = asyncio.create_task(node.acknowledge.flush())
    await asyncio.sleep(0)
    node.acknowledge.sent(KEY, 3)
    node.acknowledge.acked(KEY, 2)
    await asyncio.gather(flushing, return_exceptions=True)
    await node.acknowledge.flush()
    assert marks(world) == (3, 2)


@virtual
async def test_the_loop_outlives_an_outage() -> None:
    world = World()
    node = await watched(world)
    node.acknowledge.acked(KEY, 2)
    world.trouble.down = True
    loop = asyncio.create_task(node.acknowledge.forever())
    await asyncio.sleep(10)
    with pytest.raises(StoreUnavailable):
        await node.acknowledge.flush()
    world.trouble.down = False
    await asyncio.sleep(2)
    assert marks(world)[1] == 2
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


@virtual
async def test_another_s_acks_do_not_reach_this_thread() -> None:
    world = World()
    node = await watched(world)
    stranger = SessionKey("eve", "demo", KEY.thread_id)
    with pytest.raises(AckAhead):
        node.acknowledge.acked(stranger, 1)
