"""A replica that is told to stop gives its sessions back: each as soon as nothing runs in it, and at no message's
cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.application.reader import Reader
from tests.application.scripted_agent import echo
from tests.application.test_effects_and_timers import sets
from tests.application.virtual_time import virtual
from tests.application.world import KEY, RETRY, Node, World, remembered, until
from unbroken.application.deliveries import ShowReset
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.errors import AgentRaised
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import SessionKey


def key(number: int) -> SessionKey:
    return SessionKey("ann", "demo", f"t{number}")


def overheard(node: Node) -> list[str]:
    """The sessions of which others are told, from now on, that they are free."""
    told: list[str] = []

    def announce(thread_id: str, *, free: bool = False) -> None:
        if free:
            told.append(thread_id)

    node.wakeups.announce = announce  # type: ignore[method-assign]
    return told


def owner(world: World, key: SessionKey = KEY) -> int | None:
    return world.store.database.sessions[key.thread_id].owner


async def steps(attempt: Attempt, node: Node, *, pause_s: float = 1.0) -> str:
    """Two supersteps; an attempt that resumes does the second one alone."""
    if not attempt.claim.resumes:
        attempt.text("m", "one ")
        await asyncio.sleep(pause_s)
        await attempt.commit_superstep(await node.agent.after(attempt.claim, partly=True))
    else:
        attempt.begin_with([("m", "one ")])
    attempt.text("m", "two")
    await asyncio.sleep(pause_s)
    return "one two"


async def forever(attempt: Attempt) -> str:
    attempt.text("m", "a long ")
    await asyncio.sleep(3600)
    return ""


@virtual
async def test_an_attempt_ends_at_its_next_superstep_and_another_replica_goes_on_from_there() -> None:
    world = World()
    first, second = await world.replica("a"), await world.replica("b")
    for node in (first, second):
        node.agent.script = lambda attempt, node=node: steps(attempt, node)  # type: ignore[misc]
    told = overheard(first)
    await first.say("hello")
    await until(lambda: first.agent.running == 1)
    began = world.clock.monotonic()
    await first.queue.close(grace_s=60.0)
    assert world.clock.monotonic() - began < 2.1, "it does not wait for the second superstep"
    assert told == ["t1"]
    assert owner(world) is None
    assert remembered(first.queue) == 0

    reader = Reader(await second.subscribe(KEY, cursor=0))
    second.poll()
    async with reader.following():
        await second.ended()
    (claim,) = second.agent.runs
    assert (claim.run, claim.tries, claim.resumes) == (2, 1, True)
    assert [item.reason for item in reader.seen if isinstance(item, ShowReset)] == ["takeover"]
    assert await world.ends() == ["one two"]
    reader.close()
    await world.check()
    await second.stop()


@virtual
async def test_a_superstep_that_is_being_committed_when_the_stop_comes_is_the_last() -> None:
    world = World()
    node = await world.replica()
    node.agent.script = lambda attempt: steps(attempt, node)
    held = world.trouble.hold("commit", "after")
    await node.say("hello")
    await held.reached.wait()
    closing = asyncio.create_task(node.queue.close(grace_s=60.0))
    await asyncio.sleep(5)
    assert not closing.done()
    held.release()
    await closing
    assert owner(world) is None
    heir = await world.replica("b")
    heir.agent.script = lambda attempt: steps(attempt, heir)
    heir.poll()
    await heir.ended()
    assert [claim.resumes for claim in heir.agent.runs] == [True]
    await world.check()
    await heir.stop()


@virtual
async def test_a_turn_of_one_superstep_may_finish_and_what_waits_behind_it_is_given_back() -> None:
    world = World()
    node, heir = await world.replica(), await world.replica("b")
    told = overheard(node)
    await node.say("first")
    await node.say("second")
    await until(lambda: node.agent.running == 1)
    await node.queue.close(grace_s=60.0)
    assert await world.ends() == ["re: first!"]
    assert (owner(world), told) == (None, ["t1"])
    heir.poll()
    await heir.ended()
    assert [(claim.event.seq, claim.tries) for claim in heir.agent.runs] == [(2, 1)]
    await world.check()
    await heir.stop()


@virtual
async def test_what_waits_for_a_slot_is_given_back_at_once_and_not_at_the_end_of_the_drain() -> None:
    world = World()
    node, heir = await world.replica(slots=1), await world.replica("b")
    node.agent.script = forever
    for number in range(4):
        await node.say("hello", key(number))
    await until(lambda: node.agent.running == 1)
    closing = asyncio.create_task(node.queue.close(grace_s=5.0))
    heir.poll()
    await until(lambda: len(heir.agent.runs) == 3, limit_s=2)
    assert {claim.tries for claim in heir.agent.runs} == {1}
    assert node.agent.running == 1
    await closing
    await until(lambda: len(heir.agent.runs) == 4, limit_s=5)
    for number in range(4):
        await heir.ended(key(number))
        await world.check(key(number))
    assert {claim.tries for claim in heir.agent.runs} == {1}
    await heir.stop()


@virtual
async def test_what_is_cut_off_is_given_back_without_its_try() -> None:
    world = World()
    node, heir = await world.replica(), await world.replica("b")
    node.agent.script = forever
    told = overheard(node)
    await node.say("hello")
    await until(lambda: node.agent.running == 1)
    await node.queue.close(grace_s=0.5)
    assert node.agent.running == 0
    assert (owner(world), told) == (None, ["t1"])
    heir.poll()
    await heir.ended()
    assert [(claim.run, claim.tries) for claim in heir.agent.runs] == [(2, 1)]
    await world.check()
    await heir.stop()


@virtual
async def test_a_finish_under_way_when_all_is_cut_off_stands_and_the_next_attempt_costs_no_try() -> None:
    world = World()
    node, heir = await world.replica(), await world.replica("b")
    reader = Reader(await node.subscribe(KEY, cursor=0))
    held = world.trouble.hold("commit", "after")
    await node.say("first")
    await node.say("second")
    await held.reached.wait()
    closing = asyncio.create_task(node.queue.close(grace_s=0.0))
    await asyncio.sleep(5)
    assert not closing.done()
    held.release()
    await closing
    await reader.follow_to(1)
    reader.close()
    assert owner(world) is None
    heir.poll()
    await heir.ended()
    assert [(claim.event.seq, claim.tries) for claim in heir.agent.runs] == [(2, 1)]
    await world.check()
    await heir.stop()


@virtual
async def test_whoever_hears_of_it_goes_on_without_looking() -> None:
    world = World()

    def carry(deliver: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(deliver)

    world.hub.carry = carry
    node, heir = await world.replica(), await world.replica("b")
    node.agent.script = forever
    await node.say("hello")
    await until(lambda: node.agent.running == 1)
    await node.queue.close(grace_s=0.0)
    await until(lambda: len(heir.agent.runs) == 1, limit_s=1)
    await heir.ended()
    await world.check()
    await heir.stop()


@virtual
async def test_a_pause_between_two_tries_ends_and_the_tries_stay_counted() -> None:
    world = World()
    node, heir = await world.replica(), await world.replica("b")

    async def fails(attempt: Attempt) -> str:
        raise AgentRaised("overloaded", retryable=True)

    node.agent.script = fails
    await node.say("hello")
    await until(lambda: len(node.agent.runs) == 2)
    await node.queue.close(grace_s=60.0)
    assert owner(world) is None
    heir.poll()
    await heir.ended()
    assert [claim.tries for claim in heir.agent.runs] == [3]
    await world.check()
    await heir.stop()


@pytest.mark.parametrize("operation", ["accept", "claim"])
@pytest.mark.parametrize("stage", ["before", "after"])
def test_an_attempt_that_is_counted_while_the_stop_begins_is_given_back_unrun(operation: str, stage: str) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node, heir = await world.replica(), await world.replica("b")
        if operation == "claim":
            world.trouble.doubt("accept", applied=True)
        held = world.trouble.hold(operation, stage)  # type: ignore[arg-type]
        saying = asyncio.gather(node.say("hello"), return_exceptions=True)
        await held.reached.wait()
        closing = asyncio.create_task(node.queue.close(grace_s=5.0))
        await asyncio.sleep(1)
        assert not closing.done(), "what is on its way may count an attempt"
        held.release()
        await closing
        await saying
        assert node.agent.runs == []
        assert owner(world) is None
        assert remembered(node.queue) == 0
        heir.poll()
        await heir.ended()
        lost = operation == "claim"  # the attempt of the accept whose answer was lost has had its try
        assert [claim.tries for claim in heir.agent.runs] == [1 + lost]
        await world.check()
        await heir.stop()

    scenario()


@virtual
async def test_a_store_that_does_not_answer_keeps_no_stop_and_leaving_frees_what_could_not_be_given_back() -> None:
    world = World()
    node, heir = await world.replica(), await world.replica("b")
    node.agent.script = forever
    told = overheard(node)
    await node.say("hello")
    await until(lambda: node.agent.running == 1)
    world.trouble.refuse("release")
    await node.stop()
    assert told == []
    heir.poll()
    await heir.ended()
    assert [claim.tries for claim in heir.agent.runs] == [2]
    await world.check()
    await heir.stop()


@virtual
async def test_a_message_that_meets_as_many_deploys_as_it_has_tries_is_answered() -> None:
    world = World()
    for deploy in range(RETRY.max_tries + 2):
        node = await world.replica(f"boot-{deploy}")
        node.agent.script = forever
        if not deploy:
            await node.say("hello")
        node.poll()
        await until(lambda node=node: node.agent.running == 1)  # type: ignore[misc]
        await node.stop()
    last = await world.replica("last")
    last.poll()
    await last.ended()
    (claim,) = last.agent.runs
    assert (claim.tries, claim.run) == (1, RETRY.max_tries + 3)
    assert await world.ends() == ["re: hello!"]
    await world.check()
    await last.stop()


@pytest.mark.parametrize("seed", range(80))
def test_deploys_at_any_moment_cost_no_message_a_try(seed: int) -> None:
    @virtual
    async def scenario() -> None:
        world = World(seed)
        nodes = [await world.replica(f"boot-{number}") for number in range(5)]
        for node in nodes:
            node.agent.script = (lambda attempt, node=node: steps(attempt, node, pause_s=0.01)) if seed % 2 else echo  # type: ignore[misc]
        said = []
        for number, node in enumerate(nodes):
            node.poll()
            said += [asyncio.create_task(node.say(f"{number}-{n}", key(n % 3))) for n in range(4)]
            await asyncio.sleep((seed * 7 + number * 3) % 11 / 100)
            if node is not nodes[-1]:
                await node.stop(grace_s=(seed % 4) / 50)
        await asyncio.gather(*said)
        for number in range(3):
            await nodes[-1].ended(key(number))
            await world.check(key(number))
        assert {claim.tries for node in nodes for claim in node.agent.runs} == {1}
        await nodes[-1].stop()

    scenario()


@virtual
async def test_a_timer_that_fires_while_its_replica_is_told_to_stop_is_given_back_at_no_cost() -> None:
    world = World()
    first, second = await world.replica("a"), await world.replica("b")
    sets(first, ScheduleTimer(60.0, timer_id="t"))
    first.poll()
    await first.say("hello")
    await first.ended()
    held = world.trouble.hold("accept", "after")
    await held.reached.wait()
    stopping = asyncio.create_task(first.stop(grace_s=60.0))
    await asyncio.sleep(0.1)
    held.release()
    await asyncio.wait_for(stopping, 5)
    second.poll()
    await second.ended()
    tries = [claim.tries for node in (first, second) for claim in node.agent.runs if claim.event.seq == 2]
    assert tries == [1]
    await world.check()
    await second.stop()
