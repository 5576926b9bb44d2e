"""Where a conversation stands after a run, or a change of the state, that was to go on from an earlier checkpoint."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.scripted_agent import echo
from tests.application.test_cancelling import long
from tests.application.test_replacing import refusing, talk
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.errors import AgentRaised
from unbroken.domain.events import EventBody, RunStart, StateUpdate, WhenBusy
from unbroken.domain.ports.agent import Attempt


async def two_said() -> tuple[World, Node, list[str], str]:
    """Two messages, and the checkpoint behind the first one."""
    world, node, [one] = await talk("one")
    head = await world.store.checkpoints.load(KEY.thread_id, ROOT, None)
    assert head is not None
    two = (await node.say("two")).event.id
    await node.ended()
    return world, node, [one, two], head.row.checkpoint_id


def run(place: str) -> RunStart:
    return RunStart({"messages": [{"type": "human", "content": "instead"}]}, checkpoint_id=place)


@virtual
@pytest.mark.parametrize("when_busy", [WhenBusy.INTERRUPT, WhenBusy.ROLLBACK])
@pytest.mark.parametrize("update", [True, False])
async def test_what_was_pushed_aside_before_it_began_went_nowhere(when_busy: WhenBusy, *, update: bool) -> None:
    world, node, said, place = await two_said()
    node.agent.script = long
    three = await node.say("three")
    await until(lambda: node.agent.running == 1)
    body: EventBody = StateUpdate({"note": 1}, checkpoint_id=place) if update else run(place)
    await node.accept(KEY, "request-branch", body)
    node.agent.script = echo
    last = await node.accept(KEY, "request-last", RunStart({}), when_busy=when_busy)
    await node.ended()
    kept = [three.event.id] if when_busy is WhenBusy.INTERRUPT else []
    assert await world.heard() == [*said, *kept, last.event.id]


@virtual
async def test_a_run_that_is_stopped_before_it_said_anything_went_nowhere() -> None:
    world, node, said, place = await two_said()

    async def silent(attempt: Attempt) -> str:
        await asyncio.Event().wait()
        return ""

    node.agent.script = silent
    await node.accept(KEY, "request-branch", run(place))
    await until(lambda: node.agent.running == 1)
    await node.cancel(KEY, "request-branch")
    await node.ended()
    assert await world.heard() == said


@virtual
async def test_a_run_that_fails_before_it_said_anything_went_nowhere() -> None:
    world, node, said, place = await two_said()
    node.agent.script = refusing
    await node.accept(KEY, "request-branch", run(place))
    await node.ended()
    assert await world.heard() == said


@virtual
@pytest.mark.parametrize("fails", [True, False])
async def test_a_run_that_said_something_keeps_it_on_its_branch(*, fails: bool) -> None:
    world, node, [one, _], place = await two_said()

    async def breaks_off(attempt: Attempt) -> str:
        attempt.text("m", "as far as")
        raise AgentRaised("and no further")

    node.agent.script = breaks_off if fails else long
    branch = await node.accept(KEY, "request-branch", run(place))
    if not fails:
        await until(lambda: node.agent.running == 1)
        await node.cancel(KEY, "request-branch")
    await node.ended()
    assert await world.heard() == [one, branch.event.id]


@virtual
@pytest.mark.parametrize("update", [True, False])
async def test_a_checkpoint_without_a_name_is_the_head(*, update: bool) -> None:
    """And not the place before anything was said: what the head holds would be gone."""
    world, node, said, _ = await two_said()
    body: EventBody = StateUpdate({"note": 1}, checkpoint_id="") if update else run("")
    here = await node.accept(KEY, "request-here", body)
    await node.ended()
    assert await world.heard() == [*said, here.event.id]
