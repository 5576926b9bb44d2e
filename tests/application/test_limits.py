"""Limits of a turn: its time, its answer's length, and what an agent may do to outlive them."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.application.scripted_agent import echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, World, remembered, until
from unbroken.domain.errors import AnswerTooLong
from unbroken.domain.live_stream import MAX_TOOL_STEPS, MAX_UNITS
from unbroken.domain.ports.agent import Attempt


async def stubborn(attempt: Attempt) -> str:
    """Swallows every cancellation, for an hour."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + 3600
    while loop.time() < ends:
        try:
            await asyncio.sleep(ends - loop.time())
        except asyncio.CancelledError:
            attempt.text("m", "never mind")
    return "late"


@virtual
async def test_a_turn_that_outlives_its_limit_ends_although_its_agent_will_not() -> None:
    world = World()
    node = await world.replica(turn_limit_s=5.0)
    node.agent.script = stubborn
    await node.say("hello")
    await node.say("and then?")
    node.agent.script = stubborn
    await until(lambda: node.live.get(KEY) is not None)
    began = world.clock.monotonic()
    await until(lambda: node.processor.abandoned == 1)
    node.agent.script = echo
    await node.ended()
    assert world.clock.monotonic() - began < 5.0 + 1.0 + 0.1
    assert await world.ends() == ["timed_out", "re: and then?!"]
    assert node.processor.abandoned == 1
    await until(lambda: node.processor.abandoned == 0, limit_s=4000)
    assert remembered(node.processor) == 0
    assert await world.ends() == ["timed_out", "re: and then?!"]
    await world.check()


@virtual
async def test_what_an_abandoned_task_comes_to_is_nobody_s_concern() -> None:
    world = World()
    node = await world.replica(turn_limit_s=5.0)

    async def stubborn_and_broken(attempt: Attempt) -> str:
        await stubborn(attempt)
        raise ZeroDivisionError

    node.agent.script = stubborn_and_broken
    await node.say("hello")
    await node.ended()
    await until(lambda: node.processor.abandoned == 0, limit_s=4000)
    gc.collect()
    assert await world.ends() == ["timed_out"]


@virtual
async def test_a_timed_out_turn_is_not_tried_again() -> None:
    world = World()
    node = await world.replica(turn_limit_s=5.0)

    async def hangs(attempt: Attempt) -> str:
        await asyncio.sleep(3600)
        return ""

    node.agent.script = hangs
    await node.say("hello")
    began = world.clock.monotonic()
    await node.ended()
    assert world.clock.monotonic() - began < 5.1
    assert len(node.agent.runs) == 1
    assert await world.ends() == ["timed_out"]
    assert node.processor.abandoned == 0


@pytest.mark.parametrize("way", ["one chunk", "many chunks", "tools", "never streamed"])
def test_an_answer_that_outgrows_the_stream_ends_at_once(way: str) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()

        async def endless(attempt: Attempt) -> str:
            for _ in range(3 if way == "one chunk" else 2_000):
                match way:
                    case "one chunk":
                        attempt.text("m", "x" * (MAX_UNITS // 2 + 1))
                    case "many chunks":
                        attempt.text("m", "x" * 1_000)
                    case "tools":
                        attempt.tool("call", "search", "started")
                    case _:
                        return "x" * (MAX_UNITS + 1)
            return await stubborn(attempt)

        node.agent.script = endless
        await node.say("hello")
        began = world.clock.monotonic()
        await node.ended()
        assert world.clock.monotonic() - began < 1.1
        assert await world.ends() == [AnswerTooLong.code]
        assert len(node.agent.runs) == 1
        await until(lambda: node.processor.abandoned == 0, limit_s=4000)

    scenario()


def test_the_stream_s_bounds_are_what_the_tests_assume() -> None:
    assert MAX_UNITS < 2_000 * 1_000
    assert MAX_TOOL_STEPS < 2_000
