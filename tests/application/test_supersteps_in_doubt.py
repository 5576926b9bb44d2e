"""What a superstep costs whose commit is refused, or whose fate is unknown."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.scripted_agent import Script, echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.domain.errors import CommitUnknown
from unbroken.domain.ports.agent import Attempt

both = pytest.mark.parametrize("applied", [True, False])


def in_two_steps(node: Node) -> Script:
    async def script(attempt: Attempt) -> str:
        attempt.text("m", "step one, ")
        if not attempt.claim.resumes:
            await attempt.commit_superstep(await node.agent.after(attempt.claim, partly=True))
        attempt.text("m", "step two")
        return "step one, step two"

    return script


@both
def test_a_superstep_in_doubt_leaves_one_end_and_no_event_twice_in_the_state(applied: bool) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        node.agent.script = in_two_steps(node)
        world.trouble.doubt("commit", applied=applied)
        await node.say("hello")
        await node.ended()
        assert await world.ends() == ["step one, step two"]
        assert [claim.resumes for claim in node.agent.runs] == [False, applied]
        await world.check()

    scenario()


@pytest.mark.parametrize("refusals", [1, 4, 12])
def test_a_superstep_that_was_surely_not_written_waits_for_the_store_and_costs_no_try(refusals: int) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        node.agent.script = in_two_steps(node)
        for _ in range(refusals):
            world.trouble.refuse("commit")
        await node.say("hello")
        await node.ended()
        assert await world.ends() == ["step one, step two"]
        assert [claim.tries for claim in node.agent.runs] == [1], "the model was asked again for the store's trouble"
        await world.check()

    scenario()


@virtual
async def test_a_superstep_does_not_wait_for_ever_and_the_next_try_begins_anew() -> None:
    world = World()
    node = await world.replica()
    node.agent.script = in_two_steps(node)
    for _ in range(20):
        world.trouble.refuse("commit")
    await node.say("hello")
    await node.ended()
    assert await world.ends() == ["step one, step two"]
    assert [claim.tries for claim in node.agent.runs] == [1, 2]
    await world.check()


@virtual
async def test_a_cancel_does_not_wait_for_a_superstep_that_waits_for_the_store() -> None:
    world = World()
    node = await world.replica()
    node.agent.script = in_two_steps(node)
    for _ in range(8):
        world.trouble.refuse("commit")
    await node.say("hello")
    await until(lambda: world.trouble.calls.count("commit") == 6)
    before = world.trouble.calls.count("commit")
    await node.cancel(KEY, "request-hello")
    await node.ended()
    assert await world.ends() == ["cancelled: step one, "]
    assert world.trouble.calls.count("commit") > before, "its end was refused as well, and insisted on"
    assert world.clock.monotonic() < 30.0
    await world.check()


@virtual
async def test_an_agent_that_ignores_its_superstep_s_failure_cannot_hold_up_the_next_try() -> None:
    world = World()
    node = await world.replica()

    async def deaf(attempt: Attempt) -> str:
        if attempt.claim.tries > 1:
            return await echo(attempt)
        try:
            await attempt.commit_superstep(await node.agent.after(attempt.claim, partly=True))
        except CommitUnknown:
            for _ in range(100):
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    continue
        return "too late"

    node.agent.script = deaf
    world.trouble.doubt("commit", applied=False)
    began = world.clock.monotonic()
    await node.say("hello")
    await node.ended()
    assert world.clock.monotonic() - began < 2.0
    assert await world.ends() == ["re: hello!"]
    await until(lambda: node.processor.abandoned == 0, limit_s=4000)
    await world.check()
