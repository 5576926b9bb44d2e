"""A message that comes while an earlier one is being answered: it waits, is refused, or pushes it aside."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.scripted_agent import asked, echo
from tests.application.test_cancelling import long
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.domain.errors import Busy
from unbroken.domain.events import InputResponse, UserMessage, WhenBusy


async def busy(*, setting: WhenBusy = WhenBusy.ENQUEUE) -> tuple[World, Node]:
    world = World()
    node = await world.replica()
    node.accept._when_busy = lambda agent_id: setting

    async def slow_at_first(attempt):  # type: ignore[no-untyped-def]
        return await (long if asked(attempt.claim) == "first" else echo)(attempt)

    node.agent.script = slow_at_first
    await node.say("first")
    await until(lambda: node.agent.running == 1)
    return world, node


async def text_again(node: Node, text: str, when_busy: WhenBusy | None) -> None:
    await node.accept(KEY, f"request-{text}", UserMessage(text), when_busy=when_busy)


@virtual
@pytest.mark.parametrize(
    ("when_busy", "ends"),
    [
        (WhenBusy.ENQUEUE, ["a long answer", "re: second!"]),
        (WhenBusy.INTERRUPT, ["cancelled: a long ", "re: second!"]),
        (WhenBusy.ROLLBACK, ["cancelled: ", "re: second!"]),
    ],
)
@pytest.mark.parametrize("asked_by", ["request", "agent"])
async def test_what_a_second_message_does_to_the_first(when_busy: WhenBusy, ends: list[str], asked_by: str) -> None:
    world, node = await busy(setting=when_busy if asked_by == "agent" else WhenBusy.REJECT)
    await text_again(node, "second", when_busy if asked_by == "request" else None)
    await node.ended()
    assert await world.ends() == ends
    heard = await world.heard()
    assert len(heard) == (1 if when_busy is WhenBusy.ROLLBACK else 2), "a rolled back message was never said"
    await world.check()


@virtual
async def test_a_rejected_message_leaves_no_trace_and_may_come_again() -> None:
    world, node = await busy(setting=WhenBusy.REJECT)
    with pytest.raises(Busy):
        await text_again(node, "second", None)
    await node.ended()
    assert await world.ends() == ["a long answer"]
    await text_again(node, "second", None)
    await node.ended()
    assert await world.ends() == ["a long answer", "re: second!"]
    await world.check()


@virtual
async def test_an_interrupting_message_pushes_everything_before_it_aside_and_nothing_after_it() -> None:
    world, node = await busy()
    await node.say("second")
    await text_again(node, "third", WhenBusy.INTERRUPT)
    await node.say("fourth")
    await node.ended()
    assert await world.ends() == ["cancelled: a long ", "cancelled: ", "re: third!", "re: fourth!"]
    await world.check()


@virtual
async def test_a_repeated_interrupting_message_pushes_nothing_aside_that_came_after_it() -> None:
    world, node = await busy()
    await text_again(node, "second", WhenBusy.INTERRUPT)
    await until(lambda: len(node.agent.runs) == 2)
    await text_again(node, "second", WhenBusy.INTERRUPT)
    await node.ended()
    assert await world.ends() == ["cancelled: a long ", "re: second!"]
    await world.check()


@virtual
async def test_an_answer_never_pushes_a_message_aside() -> None:
    world, node = await busy(setting=WhenBusy.INTERRUPT)
    await node.accept(KEY, "request-answer", InputResponse("nothing:1", "yes"))
    await node.ended()
    assert await world.ends() == ["a long answer", "question_closed"]
    await world.check()


@virtual
async def test_interrupting_an_idle_session_interrupts_nobody() -> None:
    world = World()
    node = await world.replica()
    await text_again(node, "only", WhenBusy.INTERRUPT)
    await asyncio.sleep(1)
    await node.ended()
    assert await world.ends() == ["re: only!"]
    await world.check()
