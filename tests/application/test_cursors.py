"""Where a reader begins, and what it is told when it cannot begin there."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.puppet import Puppet
from tests.application.reader import Reader
from tests.application.scripted_agent import echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.application.deliveries import ShowGap, ShowLogged, ShowReset, ShowText, ShowUser
from unbroken.application.subscribe import TAIL_CURSOR, TOO_FAR
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.ports.agent import Attempt


async def talked(node: Node, turns: int) -> None:
    for number in range(turns):
        await node.say(f"past {number}")
        await node.ended()


@virtual
async def test_a_cursor_from_the_future_or_too_far_back_gets_a_gap_and_goes_on_from_there() -> None:
    world = World()
    node = await world.replica()

    async def at_once(attempt: Attempt) -> str:
        return "yes"

    node.agent.script = at_once
    for number in range(TOO_FAR + 1):
        await node.say(str(number))
        await until(lambda: not len(node.queue))
    node.agent.script = echo
    for cursor, reason in ((TOO_FAR + 2, "unknown_cursor"), (0, "too_far"), (-7, "retained")):
        reader = Reader(await node.subscribe(KEY, cursor=cursor))
        await reader.drain()
        assert reader.seen == [ShowGap(TOO_FAR + 1, reason)]  # type: ignore[arg-type]
        reader.close()
    reader = Reader(await node.subscribe(KEY, cursor=1))
    await reader.drain()
    assert not reader.gaps
    assert len(reader.log) == TOO_FAR
    async with reader.following():
        await node.say("more")
        await node.ended()
    assert reader.log[-1].log_index == TOO_FAR + 2
    reader.close()


@virtual
async def test_a_cursor_that_another_replica_gave_is_known_where_the_log_was_behind() -> None:
    world = World()
    owner, other = await world.replica("a"), await world.replica("b")
    await talked(owner, 1)
    beside = Reader(await other.subscribe(KEY, cursor=0))
    await owner.say("more")
    await until(lambda: not len(owner.queue))
    reader = Reader(await other.subscribe(KEY, cursor=2))
    await reader.drain()
    assert reader.seen == []
    await beside.drain()
    assert [entry.log_index for entry in beside.log] == [1, 2]
    for each in (reader, beside):
        each.close()
    assert len(other.live) == 0
    alone = Reader(await other.subscribe(KEY, cursor=3))
    await alone.drain()
    assert alone.seen == [ShowGap(2, "unknown_cursor")]
    alone.close()


@virtual
async def test_a_long_log_comes_before_what_waits_and_what_is_being_said() -> None:
    world = World()
    node = await world.replica()

    async def at_once(attempt: Attempt) -> str:
        return "yes"

    node.agent.script = at_once
    for number in range(150):
        await node.say(str(number))
        await until(lambda: not len(node.queue))
    puppet = Puppet(node)
    await node.say("running")
    await node.say("waiting")
    await puppet.say("so")
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    kinds = [type(item) for item in reader.seen]
    assert kinds == [ShowUser, ShowLogged] * 150 + [ShowUser, ShowUser, ShowReset, ShowText]
    assert reader.log == await world.log()
    for _ in range(2):
        await puppet.finish()
    reader.close()


@virtual
async def test_a_log_cut_short_under_a_reader_is_announced_and_not_awaited_for_ever() -> None:
    world = World()
    node = await world.replica()
    await talked(node, 70)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    read = world.store.outbox.read

    async def shortened(thread_id: str, *, after: int, limit: int):  # type: ignore[no-untyped-def]
        return [entry for entry in await read(thread_id, after=after, limit=limit) if entry.log_index > 50]

    world.store.outbox.read = shortened  # type: ignore[method-assign]
    await reader.drain()
    assert reader.gaps == [ShowGap(50, "retained")]
    assert [entry.log_index for entry in reader.log] == list(range(51, 71))
    reader.close()


@virtual
async def test_a_reader_without_a_cursor_begins_at_what_was_acknowledged() -> None:
    world = World()
    node = await world.replica()
    await talked(node, 5)
    first = await node.subscribe(KEY, cursor=0)
    node.acknowledge.acked(KEY, 3)
    await node.acknowledge.flush()
    first.close()
    reader = Reader(await node.subscribe(KEY, cursor=None))
    await reader.drain()
    assert [entry.log_index for entry in reader.log] == [4, 5]
    reader.close()


@virtual
async def test_a_reader_of_the_tail_gets_only_what_comes() -> None:
    world = World()
    node = await world.replica()
    await talked(node, 3)
    reader = Reader(await node.subscribe(KEY, cursor=TAIL_CURSOR))
    async with reader.following():
        await node.say("now")
        await node.ended()
    assert [entry.log_index for entry in reader.log] == [4]
    reader.close()


@pytest.mark.parametrize("cursor", [None, 0])
def test_a_reader_that_comes_while_the_last_turn_ends_is_not_left_behind(cursor: int | None) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        await node.say("hello")
        held = world.trouble.hold("view", "after")
        coming = asyncio.create_task(node.subscribe(KEY, cursor=cursor))
        await held.reached.wait()
        await until(lambda: not len(node.queue))
        held.release()
        reader = Reader(await coming)
        async with reader.following():
            await node.say("again")
            await node.ended()
        assert reader.log == await world.log()
        reader.close()
        assert len(node.live) == 0

    scenario()


@virtual
async def test_a_subscription_that_fails_leaves_nothing_behind() -> None:
    world = World()
    node = await world.replica()
    await node.say("hello")
    world.trouble.refuse("view")
    with pytest.raises(StoreUnavailable):
        await node.subscribe(KEY, cursor=None)
    await node.ended()
    assert len(node.live) == 0


@virtual
async def test_a_failed_read_of_the_log_loses_nothing() -> None:
    world = World()
    node = await world.replica()
    await talked(node, 70)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    world.trouble.refuse("read")
    with pytest.raises(StoreUnavailable):
        await reader.take()
    await reader.drain()
    assert reader.log == await world.log()
    reader.close()


@virtual
async def test_whatever_was_handed_out_may_be_acknowledged_although_the_store_is_ahead_of_this_replica() -> None:
    world = World()
    node, other = await world.replica("a"), await world.replica("b")
    await talked(other, 2)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await other.say("answered elsewhere")
    await other.ended()
    await reader.drain()
    node.acknowledge.acked(KEY, reader.cursor)
    await node.queue.catch_up()
    await reader.drain()
    assert reader.log == await world.log()
    node.acknowledge.acked(KEY, reader.cursor)
    reader.close()


@virtual
async def test_a_log_cut_short_beyond_what_this_replica_knows_of_it_is_announced() -> None:
    world = World()
    node, other = await world.replica("a"), await world.replica("b")
    await talked(other, 2)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await other.say("answered elsewhere")
    await other.say("and again")
    await other.ended()
    read = world.store.outbox.read

    async def shortened(thread_id: str, *, after: int, limit: int):  # type: ignore[no-untyped-def]
        return [entry for entry in await read(thread_id, after=after, limit=limit) if entry.log_index > 3]

    world.store.outbox.read = shortened  # type: ignore[method-assign]
    await reader.drain()
    node.acknowledge.acked(KEY, reader.cursor)
    await node.queue.catch_up()
    await reader.drain()
    assert reader.gaps[-1] == ShowGap(3, "retained")
    assert [entry.log_index for entry in reader.log] == [4]
    reader.close()
