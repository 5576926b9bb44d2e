"""Questions: open until an answer, a message or a cancel closes them, and each closed once, in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.application.reader import Reader
from tests.application.scripted_agent import asked
from tests.application.test_cancelling import long
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.domain.effects import CancelTurn, CloseQuestion, ReportFailure, RequestInput, SendMessage
from unbroken.domain.events import InputResponse
from unbroken.domain.turn import Question


async def asking(*questions: str) -> tuple[World, Node]:
    world = World()
    node = await world.replica()
    node.agent.questions = tuple(Question(own_id, f"{own_id}?") for own_id in questions)
    await node.say("hello")
    await node.ended()
    return world, node


async def answer(node: Node, interrupt_id: str, value: object = "yes", *, still: tuple[str, ...] = ()) -> None:
    node.agent.questions = tuple(Question(own_id, f"{own_id}?") for own_id in still)
    await node.accept(KEY, f"answer-{interrupt_id}-{value}", InputResponse(interrupt_id, value))


async def log_after(world: World, count: int) -> Sequence[object]:
    return [entry.body for entry in await world.log()][count:]


@virtual
async def test_an_answer_closes_its_question_before_its_own_end() -> None:
    world, node = await asking("a")
    await answer(node, "a:1")
    await node.ended()
    closed, end = await log_after(world, 2)
    assert closed == CloseQuestion("a:1", "answered")
    assert isinstance(end, SendMessage)
    assert (end.text, end.waiting) == ("re: yes!", False)
    await world.check()


@virtual
async def test_several_questions_are_answered_one_by_one_in_any_order() -> None:
    world, node = await asking("a", "b", "c")
    await answer(node, "b:1", still=("a", "c"))
    await node.ended()
    assert (await log_after(world, 4))[0] == CloseQuestion("b:1", "answered")
    assert len(await log_after(world, 4)) == 2, "what stays open is not asked again"
    await answer(node, "c:1", still=("a",))
    await node.ended()
    await answer(node, "a:1")
    await node.ended()
    bodies = await log_after(world, 6)
    assert [body for body in bodies if isinstance(body, CloseQuestion)] == [
        CloseQuestion("c:1", "answered"),
        CloseQuestion("a:1", "answered"),
    ]
    await world.check()


@virtual
async def test_of_two_answers_to_one_question_the_second_is_told_that_it_came_too_late() -> None:
    world, node = await asking("a")
    await answer(node, "a:1", "yes")
    await answer(node, "a:1", "no")
    await node.ended()
    bodies = await log_after(world, 2)
    assert [type(body) for body in bodies] == [CloseQuestion, SendMessage, ReportFailure]
    assert isinstance(bodies[2], ReportFailure)
    assert bodies[2].code == "question_closed"
    assert [asked(claim) for claim in node.agent.runs] == ["hello", "yes"]
    await world.check()


@virtual
async def test_a_message_supersedes_what_was_asked() -> None:
    world, node = await asking("a", "b")
    node.agent.questions = ()
    await node.say("never mind")
    await node.ended()
    assert (await log_after(world, 3))[:2] == [CloseQuestion("a:1", "superseded"), CloseQuestion("b:1", "superseded")]
    await answer(node, "a:1")
    await node.ended()
    assert (await world.ends())[-1] == "question_closed"
    await world.check()


@virtual
async def test_a_question_stays_open_over_a_restart_and_for_days() -> None:
    world, node = await asking("a")
    await node.stop()
    await asyncio.sleep(5 * 24 * 3600)
    node = await world.replica("a")
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    assert [entry.body for entry in reader.log][1:] == [RequestInput("a:1", "a?")]
    await answer(node, "a:1")
    await node.ended()
    assert (await world.ends())[-1] == "re: yes!"
    await world.check()
    reader.close()


@virtual
async def test_a_cancelled_answer_closes_the_questions_whose_history_it_ended() -> None:
    world, node = await asking("a", "b")
    node.agent.script = long
    await answer(node, "a:1")
    await until(lambda: node.agent.running == 1)
    await node.cancel(KEY, "answer-a:1-yes")
    await node.ended()
    assert await log_after(world, 3) == [
        CloseQuestion("a:1", "cancelled"),
        CloseQuestion("b:1", "cancelled"),
        CancelTurn("a long ", 2),
    ]
    await world.check()


@virtual
async def test_an_answer_cancelled_before_it_ran_leaves_its_question_open() -> None:
    world, node = await asking("a", "b")
    await answer(node, "a:1", still=("b",))
    await answer(node, "b:1", still=("b",))
    await node.cancel(KEY, "answer-b:1-yes")
    await node.ended()
    assert (await world.ends())[1:] == ["re: yes!", "cancelled: "]
    await answer(node, "b:1", "no")
    await node.ended()
    assert CloseQuestion("b:1", "answered") in await log_after(world, 5)
    await world.check()
