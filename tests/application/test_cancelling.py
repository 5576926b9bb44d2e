"""Cancels: whoever accepts one, and wherever the event is by then, it has one end, and its output stops."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.application.reader import Reader
from tests.application.scripted_agent import TOKEN_S, asked, echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.domain.effects import CancelTurn
from unbroken.domain.errors import AgentRaised, AlreadyEnded, CommitUnknown, UnknownRequest
from unbroken.domain.ports.agent import Attempt


async def long(attempt: Attempt) -> str:
    attempt.text("m", "a long ")
    await asyncio.sleep(30)
    attempt.text("m", "answer")
    return "a long answer"


async def deaf(attempt: Attempt) -> str:
    """An agent that takes no notice of its cancellation for a long time."""
    attempt.text("m", "a long ")
    for _ in range(100):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)
        attempt.text("m", "and ")
    return "never"


async def running(script: object = long, *, texts: tuple[str, ...] = ("hello",)) -> tuple[World, Node]:
    world = World()
    node = await world.replica()
    node.agent.script = script  # type: ignore[assignment]
    for text in texts:
        await node.say(text)
    await until(lambda: node.agent.running == 1)
    return world, node


@virtual
async def test_a_cancelled_turn_ends_at_once_with_what_was_shown_and_a_whole_history() -> None:
    world, node = await running()
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    before = asyncio.get_running_loop().time()
    await node.cancel(KEY, "request-hello")
    await node.ended()
    assert asyncio.get_running_loop().time() - before < 0.1
    await reader.drain()
    assert reader.texts() == {"request-hello": "a long "}
    [entry] = await world.log()
    assert entry.body == CancelTurn("a long ", 1)
    [settling] = node.agent.settled
    assert (settling.texts, settling.reason) == ((("m", "a long "),), "cancelled")
    assert await world.heard() == [entry.event.id]
    await world.check()
    reader.close()


@pytest.mark.parametrize(("took_s", "heard"), [([3600.0], 1), ([3600.0, 3600.0], 0)])
def test_a_process_that_stands_still_while_a_history_is_made_whole_loses_none_of_it(
    took_s: list[float], heard: int
) -> None:
    """Its time is over when it goes on, and the history is as good as it was: only what takes too long twice does."""

    @virtual
    async def scenario() -> None:
        world, node = await running()
        node.agent.settles_after_s = took_s
        await node.cancel(KEY, "request-hello")
        await node.ended()
        [entry] = await world.log()
        assert entry.body == CancelTurn("a long ", 1)
        assert len(await world.heard()) == heard
        await world.check()

    scenario()


@virtual
async def test_an_agent_that_is_deaf_to_its_cancellation_is_silent_at_once_and_ended_within_two_seconds() -> None:
    world, node = await running(deaf)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    loop = asyncio.get_running_loop()
    before = loop.time()
    await node.cancel(KEY, "request-hello")
    await reader.drain()
    shown = reader.text
    await node.ended()
    assert loop.time() - before < 2
    await reader.drain()
    assert reader.texts() == {"request-hello": shown}
    assert node.processor.abandoned == 1
    await until(lambda: node.processor.abandoned == 0)
    await world.check()
    reader.close()


@virtual
async def test_a_queued_message_is_cancelled_before_it_is_run_and_leaves_the_running_one_alone() -> None:
    world, node = await running(echo, texts=("hello", "next", "last"))
    await node.cancel(KEY, "request-next")
    await node.ended()
    assert [asked(claim) for claim in node.agent.runs] == ["hello", "last"]
    assert await world.ends() == ["re: hello!", "cancelled: ", "re: last!"]
    assert node.agent.settled == [], "an event that left nothing needs nobody to mend it"
    await world.check()


@virtual
async def test_a_cancel_asked_twice_is_one_and_after_the_end_it_is_told_so() -> None:
    world, node = await running()
    await asyncio.gather(*(node.cancel(KEY, "request-hello") for _ in range(3)))
    await node.ended()
    assert await world.ends() == ["cancelled: a long "]
    with pytest.raises(AlreadyEnded):
        await node.cancel(KEY, "request-hello")
    with pytest.raises(UnknownRequest):
        await node.cancel(KEY, "request-nobody-sent")
    await world.check()


@virtual
@pytest.mark.parametrize("stage", ["before", "after"])
async def test_a_cancel_that_meets_the_finishing_commit_leaves_one_end(stage: str) -> None:
    world = World()
    node = await world.replica()
    held = world.trouble.hold("commit", stage)  # type: ignore[arg-type]
    await node.say("hello")
    await held.reached.wait()
    if stage == "before":
        await node.cancel(KEY, "request-hello")
    else:
        with pytest.raises(AlreadyEnded):
            await node.cancel(KEY, "request-hello")
    held.release()
    await node.ended()
    assert await world.ends() == (["cancelled: re: hello!"] if stage == "before" else ["re: hello!"])
    await world.check()


@virtual
async def test_a_cancel_at_any_moment_of_a_turn_leaves_one_end_and_both_kinds_are_seen() -> None:
    seen: set[str] = set()
    for step in range(60):
        world = World(seed=step)
        node = await world.replica()
        reader = Reader(await node.subscribe(KEY, cursor=0))
        async with reader.following():
            await node.say("hello")
            await asyncio.sleep(step * TOKEN_S / 15)
            try:
                await node.cancel(KEY, "request-hello")
                expected = "cancelled"
            except AlreadyEnded:
                expected = "re"
            await node.ended()
        [end] = await world.ends()
        assert end.split(":")[0] == expected
        seen.add(expected)
        [entry] = reader.log
        shown = reader.texts().get("request-hello", "")
        assert getattr(entry.body, "text", None) in (shown, "re: hello!"), "the end says what was shown"
        await world.check()
        reader.close()
    assert seen == {"cancelled", "re"}


@virtual
async def test_a_cancel_accepted_by_another_replica_ends_the_turn_within_the_poll() -> None:
    world, node = await running()
    node.poll()
    other = await world.replica("b")
    loop = asyncio.get_running_loop()
    before = loop.time()
    await other.cancel(KEY, "request-hello")
    await node.ended()
    assert loop.time() - before < 1
    assert await world.ends() == ["cancelled: a long "]
    await world.check()
    await node.stop()


@virtual
async def test_a_cancel_outlives_the_replica_that_ran_the_turn() -> None:
    world, node = await running()
    other = await world.replica("b")
    await other.cancel(KEY, "request-hello")
    await node.stop()
    other.poll()
    await other.ended()
    assert other.agent.runs == []
    assert await world.ends() == ["cancelled: "]
    await world.check()
    await other.stop()


@virtual
async def test_a_cancel_in_the_pause_before_another_try_ends_the_pause() -> None:
    world = World()
    node = await world.replica()

    async def overloaded(attempt: Attempt) -> str:
        raise AgentRaised("overloaded", retryable=True)

    node.agent.script = overloaded
    await node.say("hello")
    await until(lambda: len(node.agent.runs) == 1 and not node.processor.running)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await node.cancel(KEY, "request-hello")
    await node.ended()
    assert loop.time() - before < 0.1
    assert len(node.agent.runs) == 1
    assert await world.ends() == ["cancelled: "]
    await world.check()


@virtual
async def test_a_cancel_whose_answer_was_lost_is_asked_again_and_holds() -> None:
    world, node = await running()
    world.trouble.doubt("cancel", applied=True)
    with pytest.raises(CommitUnknown):
        await node.cancel(KEY, "request-hello")
    await node.cancel(KEY, "request-hello")
    await node.ended()
    assert await world.ends() == ["cancelled: a long "]
    await world.check()


@virtual
async def test_a_cancel_waits_for_a_superstep_that_is_being_committed_and_mends_from_there() -> None:
    world = World()
    node = await world.replica()

    async def steps(attempt: Attempt) -> str:
        attempt.text("m", "half")
        await attempt.commit_superstep(await node.agent.after(attempt.claim, partly=True))
        return await long(attempt)

    node.agent.script = steps
    held = world.trouble.hold("commit", "before")
    await node.say("hello")
    await held.reached.wait()
    cancelling = asyncio.create_task(node.cancel(KEY, "request-hello"))
    await asyncio.sleep(1)
    held.release()
    await cancelling
    await node.ended()
    [settling] = node.agent.settled
    assert settling.head != settling.claim.head, "the head as that superstep left it"
    assert await world.ends() == ["cancelled: half"]
    await world.check()


@virtual
async def test_a_cancelled_turn_lets_the_next_message_answer_as_if_it_had_ended() -> None:
    world, node = await running(texts=("hello", "next"))
    await node.cancel(KEY, "request-hello")
    node.agent.script = echo
    await node.ended()
    assert await world.ends() == ["cancelled: a long ", "re: next!"]
    await world.check()


@virtual
async def test_nothing_that_a_cancel_needed_is_remembered() -> None:
    world, node = await running(echo, texts=("hello", "next"))
    await node.cancel(KEY, "request-next")
    await node.ended()
    assert not world.store.database.sessions[KEY.thread_id].controls
    assert not node.processor.running
    assert len(node.queue) == len(node.live) == 0
