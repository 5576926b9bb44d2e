"""Edit, retry, regenerate: the conversation goes on from before a message, and the old branch stays in the log."""

from __future__ import annotations

import pytest

from tests.application.scripted_agent import echo
from tests.application.test_cancelling import long
from tests.application.test_questions import answer
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.domain.effects import CloseQuestion
from unbroken.domain.errors import AgentRaised
from unbroken.domain.events import UserMessage, WhenBusy
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.ports.event_store import Receipt
from unbroken.domain.turn import Question


async def talk(*texts: str) -> tuple[World, Node, list[str]]:
    world = World()
    node = await world.replica()
    ids = []
    for text in texts:
        ids.append((await node.say(text)).event.id)
        await node.ended()
    return world, node, ids


async def replace(node: Node, text: str, replaces: str) -> Receipt:
    receipt = await node.accept(KEY, f"request-{text}", UserMessage(text, f"request-{replaces}"))
    await node.ended()
    return receipt


@virtual
async def test_an_edited_message_goes_on_from_before_the_old_one() -> None:
    world, node, [one, *_] = await talk("one", "two", "three")
    edited = await replace(node, "TWO", "two")
    assert await world.heard() == [one, edited.event.id]
    assert await world.ends() == ["re: one!", "re: two!", "re: three!", "re: TWO!"], "the old branch stays in the log"
    after = await node.say("four")
    await node.ended()
    assert await world.heard() == [one, edited.event.id, after.event.id]


@virtual
async def test_the_first_message_can_be_replaced_and_so_can_its_replacement() -> None:
    world, node, _ = await talk("one", "two")
    await replace(node, "ONE", "one")
    again = await replace(node, "Uno", "ONE")
    assert await world.heard() == [again.event.id]


@virtual
async def test_a_replaced_message_is_the_same_place_by_each_of_its_names() -> None:
    world, node, [one, *_] = await talk("one", "two")
    await replace(node, "TWO", "two")
    late = await replace(node, "deux", "two")
    assert await world.heard() == [one, late.event.id]


@virtual
async def test_a_message_that_replaces_nothing_known_ends_with_a_named_error_and_changes_nothing() -> None:
    world, node, ids = await talk("one")
    await replace(node, "TWO", "nothing")
    assert await world.ends() == ["re: one!", "branch_gone"]
    assert await world.heard() == ids


@virtual
async def test_a_failed_or_cancelled_message_is_retried_as_if_it_had_not_been() -> None:
    world, node, [one] = await talk("one")
    node.agent.script = long
    await node.say("two")
    await until(lambda: node.agent.running == 1)
    await node.cancel(KEY, "request-two")
    await node.ended()
    assert len(await world.heard()) == 2
    node.agent.script = echo
    again = await replace(node, "two again", "two")
    assert await world.heard() == [one, again.event.id]


@virtual
async def test_a_fork_whose_replica_dies_after_a_superstep_goes_on_where_it_was() -> None:
    world, first, [one, *_] = await talk("one", "two")

    async def commits_then_hangs(attempt: Attempt) -> str:
        await attempt.commit_superstep(await first.agent.after(attempt.claim, partly=True, fork=attempt.fork))
        return await long(attempt)

    first.agent.script = commits_then_hangs
    receipt = await first.accept(KEY, "request-TWO", UserMessage("TWO", "request-two"))
    await until(lambda: "commit" in first.world.trouble.calls and first.agent.running == 1)
    await until(lambda: first.processor.running != frozenset())
    await first.stop()
    second = await world.replica("b")
    second.poll()
    await second.ended()
    assert await world.heard() == [one, receipt.event.id]
    await second.stop()


@virtual
async def test_replacing_a_message_closes_what_its_branch_had_asked() -> None:
    world = World()
    node = await world.replica()
    node.agent.questions = (Question("a", "a?"),)
    await node.say("one")
    await node.ended()
    node.agent.questions = ()
    await replace(node, "ONE", "one")
    assert CloseQuestion("a:1", "superseded") in [entry.body for entry in await world.log()]
    await answer(node, "a:1")
    await node.ended()
    assert (await world.ends())[-1] == "question_closed"


async def refusing(attempt: Attempt) -> str:
    raise AgentRaised("no such model")


@virtual
async def test_a_replacement_that_comes_to_nothing_leaves_the_conversation_at_its_place() -> None:
    world, node, [one, *_] = await talk("one", "two", "three")
    node.agent.script = refusing
    await replace(node, "TWO", "two")
    assert await world.ends() == ["re: one!", "re: two!", "re: three!", "model_failed"]
    assert await world.heard() == [one], "the branch it left is not shown any more"
    node.agent.script = echo
    after = await node.say("four")
    await node.ended()
    assert await world.heard() == [one, after.event.id]


@virtual
@pytest.mark.parametrize("when_busy", [WhenBusy.INTERRUPT, WhenBusy.ROLLBACK])
async def test_a_replacement_pushed_aside_before_it_ran_leaves_the_conversation_at_its_place(
    when_busy: WhenBusy,
) -> None:
    world, node, [one, *_] = await talk("one", "two")
    node.agent.script = long
    await node.say("three")
    await until(lambda: node.agent.running == 1)
    await node.accept(KEY, "request-TWO", UserMessage("TWO", "request-two"))
    node.agent.script = echo
    pushing = await node.accept(KEY, "request-last", UserMessage("last"), when_busy=when_busy)
    await node.ended()
    assert await world.heard() == [one, pushing.event.id]


@virtual
async def test_a_cancelled_replacement_keeps_what_it_showed_at_its_place() -> None:
    world, node, [one, *_] = await talk("one", "two", "three")
    node.agent.script = long
    receipt = await node.accept(KEY, "request-TWO", UserMessage("TWO", "request-two"))
    await until(lambda: node.agent.running == 1)
    await node.cancel(KEY, "request-TWO")
    await node.ended()
    assert await world.heard() == [one, receipt.event.id]


@virtual
async def test_a_replacement_whose_history_cannot_be_made_whole_leaves_the_conversation_at_its_place() -> None:
    world, node, [one, *_] = await talk("one", "two", "three")
    node.agent.unsettling = ZeroDivisionError()

    async def commits_and_fails(attempt: Attempt) -> str:
        await attempt.commit_superstep(await node.agent.after(attempt.claim, partly=True, fork=attempt.fork))
        return await refusing(attempt)

    node.agent.script = commits_and_fails
    await replace(node, "TWO", "two")
    assert await world.heard() == [one]
