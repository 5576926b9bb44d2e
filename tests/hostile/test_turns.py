"""What a siege found in turns: an agent that ends in the very step in which its attempt is stopped leaves no error."""

from __future__ import annotations

import gc

from tests.application.virtual_time import virtual
from tests.application.world import World
from unbroken.domain.live_stream import MAX_UNITS
from unbroken.domain.ports.agent import Attempt


async def too_long_and_noticed(attempt: Attempt) -> str:
    attempt.text("m", "x" * (MAX_UNITS + 1))
    attempt.gate.check()  # raises Fenced, and nobody asks for it any more
    raise AssertionError("the gate was open")


@virtual
async def test_an_agent_that_fails_as_its_attempt_is_stopped_is_not_reported_as_forgotten() -> None:
    world = World()
    node = await world.replica()
    node.agent.script = too_long_and_noticed
    await node.say("go on for ever")
    await node.ended()
    assert await world.ends() == ["answer_too_long"]
    gc.collect()
    await node.stop()
