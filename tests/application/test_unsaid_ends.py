"""A change of the state is nobody's saying: however it ends, the log has no word of it, and its caller finds how."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.reader import Reader
from tests.application.scripted_agent import Script, echo
from tests.application.test_cancelling import long
from tests.application.test_replacing import talk
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.application.deliveries import ShowLogged, ShowUser
from unbroken.domain.effects import EffectBody, SkipEvent
from unbroken.domain.errors import AgentRaised
from unbroken.domain.events import RunStart, StateUpdate, WhenBusy
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.turn import Question

UPDATE = StateUpdate({"note": 1})
WRITTEN = SkipEvent("the state was changed", stands=False)
FAILED = SkipEvent("no node is called that", "model_failed")
PUSHED_ASIDE = SkipEvent("it was cancelled", "cancelled")


async def fails(attempt: Attempt) -> str:
    raise AgentRaised("no node is called that")


async def said_one() -> tuple[World, Node, Reader]:
    """A message that was answered, and somebody who has seen that."""
    world, node, _ = await talk("one")
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    return world, node, reader


async def write(node: Node) -> int:
    return (await node.accept(KEY, "request-write", UPDATE)).event.seq


async def end_of(world: World, seq: int) -> EffectBody | None:
    ended = await world.store.outbox.end_of(KEY.thread_id, seq)
    return None if ended is None else ended.body


async def nothing_was_said(world: World, node: Node, reader: Reader) -> None:
    """But for the message before: whoever looks on hears of the next one, and of nothing in between."""
    node.agent.script = echo
    await node.say("next")
    await node.ended()
    await reader.drain()
    told = [one.entry.event.request_id for one in reader.seen if isinstance(one, ShowLogged)]
    shown = [one.event.request_id for one in reader.seen if isinstance(one, ShowUser)]
    assert told == shown == ["request-one", "request-next"]
    assert [entry.event.request_id for entry in await world.log()] == told
    await world.check()


@virtual
async def test_one_that_fails_says_why_to_its_caller_alone() -> None:
    world, node, reader = await said_one()
    before = await world.heard()
    node.agent.script = fails
    seq = await write(node)
    await node.ended()
    assert await end_of(world, seq) == FAILED
    assert await world.heard() == before
    await nothing_was_said(world, node, reader)


@virtual
async def test_one_that_was_written_says_nothing_either() -> None:
    world, node, reader = await said_one()
    seq = await write(node)
    assert await end_of(world, seq) is None, "it has not ended"
    await node.ended()
    assert await end_of(world, seq) == WRITTEN
    await nothing_was_said(world, node, reader)


@virtual
@pytest.mark.parametrize("kind", [WhenBusy.INTERRUPT, WhenBusy.ROLLBACK])
@pytest.mark.parametrize("begun", [True, False])
async def test_one_that_is_pushed_aside_is_cancelled_for_its_caller_alone(kind: WhenBusy, *, begun: bool) -> None:
    world, node, reader = await said_one()
    before = await world.heard()

    async def silent(attempt: Attempt) -> str:
        await asyncio.Event().wait()
        return ""

    node.agent.script = silent if begun else long
    if not begun:
        await node.say("two")
        await until(lambda: node.agent.running == 1)
    seq = await write(node)
    if begun:
        await until(lambda: node.agent.running == 1)
    node.agent.script = echo
    await node.accept(KEY, "request-run", RunStart({}), when_busy=kind)
    await node.ended()
    assert await end_of(world, seq) == PUSHED_ASIDE
    await reader.drain()
    assert "request-write" not in {entry.event.request_id for entry in await world.log()}
    assert "request-write" not in {one.event.request_id for one in reader.seen if isinstance(one, ShowUser)}
    assert (await world.heard())[: len(before)] == before
    await world.check()


@virtual
async def test_one_that_kills_its_owners_is_poisoned_for_its_caller_alone() -> None:
    world, node, _ = await said_one()
    await node.crash()
    seq = 0
    for name in ("b", "c", "d"):
        victim = await world.replica(name)
        victim.agent.script = long_silence
        victim.poll()
        seq = seq or await write(victim)
        await until(lambda agent=victim.agent: agent.running == 1)  # type: ignore[misc]
        await victim.crash()
    last = await world.replica("e")
    last.poll()
    await last.ended()
    end = await end_of(world, seq)
    assert isinstance(end, SkipEvent)
    assert end.code == "poisoned"
    assert [entry.event.request_id for entry in await world.log()] == ["request-one"]
    await last.stop()
    await world.check()


async def long_silence(attempt: Attempt) -> str:
    await asyncio.sleep(1_000)
    return ""


@virtual
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("script", [fails, echo])
async def test_a_commit_in_doubt_leaves_it_one_end(script: Script, *, applied: bool) -> None:
    world, node, reader = await said_one()
    node.poll()
    node.agent.script = script
    world.trouble.doubt("commit", applied=applied)
    seq = await write(node)
    await node.ended()
    assert await end_of(world, seq) == (FAILED if script is fails else WRITTEN)
    await nothing_was_said(world, node, reader)
    await node.stop()


@virtual
async def test_a_question_that_was_open_is_open_still_when_one_has_failed() -> None:
    world, node, _ = await talk()
    node.agent.questions = (Question("q", "sure?"),)
    await node.say("one")
    await node.ended()
    node.agent.script = fails
    await write(node)
    await node.ended()
    session = world.store.database.sessions[KEY.thread_id]
    assert [id_.partition(":")[0] for id_ in session.open_questions] == ["q"]
    assert [type(entry.body).__name__ for entry in await world.log()] == ["SendMessage", "RequestInput"]
