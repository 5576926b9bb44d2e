"""What a dead replica leaves is spread over the living, and nothing waits for one that does not come."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.virtual_time import virtual
from tests.application.world import LEASE_S, Node, World
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import SessionKey, Strays

SESSIONS = 300


async def busy(attempt: Attempt) -> str:
    await asyncio.sleep(3600)
    return ""


def keys() -> list[SessionKey]:
    return [SessionKey("ann", "demo", f"thread-{number}") for number in range(SESSIONS)]


async def dead(world: World, *survivors: Node) -> Node:
    """A replica whose lease has run out with every session under way; the survivors' have not."""
    victim = await world.replica("victim", slots=SESSIONS)
    victim.agent.script = busy
    for key in keys():
        await victim.say("hello", key)
    await world.store.replicas.renew(victim.id, lease_ttl_s=0)
    for node in survivors:
        node.agent.script = busy
        await world.store.replicas.renew(node.id, lease_ttl_s=LEASE_S)
    return victim


async def looks(*nodes: Node) -> list[int]:
    """How many each has after all of them have looked once more."""
    for node in nodes:
        await node.recover.once()
    await asyncio.sleep(0.1)
    return [len(node.queue) for node in nodes]


@virtual
async def test_the_sessions_of_a_dead_replica_are_spread_over_the_survivors_within_one_look() -> None:
    world = World()
    nodes = [await world.replica(name, slots=SESSIONS) for name in "bc"]
    victim = await dead(world, *nodes)
    found = await looks(*nodes)
    assert sum(found) == SESSIONS, "each took its share at once, and together these are all"
    assert min(found) > SESSIONS / 3
    owners = {world.store.database.sessions[key.thread_id].owner for key in keys()}
    assert owners == {node.id for node in nodes}
    for node in (victim, *nodes):
        await node.stop()


@virtual
async def test_what_falls_on_a_replica_that_does_not_look_is_taken_at_the_second_look() -> None:
    world = World()
    looking, hanging = await world.replica("b", slots=SESSIONS), await world.replica("c", slots=SESSIONS)
    victim = await dead(world, looking, hanging)
    (first,) = await looks(looking)
    assert SESSIONS / 3 < first < SESSIONS * 2 / 3
    assert await looks(looking) == [SESSIONS]
    for node in (victim, looking, hanging):
        await node.stop()


@virtual
async def test_a_replica_alone_takes_everything_at_its_first_look() -> None:
    world = World()
    alone = await world.replica("b", slots=SESSIONS)
    victim = await dead(world, alone)
    assert await looks(alone) == [SESSIONS]
    for node in (victim, alone):
        await node.stop()


@virtual
async def test_what_a_replica_owns_itself_it_takes_up_whoever_s_share_it_were() -> None:
    world = World()
    node, other = await world.replica("a", slots=SESSIONS), await world.replica("b")
    node.agent.script = busy
    for key in keys()[:40]:
        world.trouble.doubt("accept", applied=True)
        with pytest.raises(Exception, match="the answer to COMMIT was lost"):
            await node.say("hello", key)
    node.queue._hinted.clear()
    assert await looks(node) == [40]
    for one in (node, other):
        await one.stop()


@pytest.mark.parametrize("living", [1, 2, 3, 7])
def test_each_stray_falls_on_exactly_one_of_those_that_see_the_same_ones_alive(living: int) -> None:
    views = [Strays(rank=rank, living=living) for rank in range(living)]
    shares = [0] * living
    for number in range(2_000):
        (share,) = [rank for rank, view in enumerate(views) if view.falls_here(f"thread-{number}")]
        shares[share] += 1
    assert min(shares) > 2_000 / living * 0.8
