"""How one event comes to its end: answers, failures, time limits, and what an agent may do to prevent one."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.reader import Reader
from tests.application.scripted_agent import OneAgent, asked, echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, World, until
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.effects import ReportFailure, RequestInput, ScheduleTimer, SendMessage
from unbroken.domain.errors import AgentRaised, Fenced, UnknownAgent
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import SessionKey
from unbroken.domain.turn import NodeEffect, Question


async def failing(attempt: Attempt) -> str:
    attempt.text("m", "half an ans")
    await asyncio.sleep(0.1)
    raise AgentRaised("no such model")


@virtual
async def test_an_answer_ends_its_event_with_one_message() -> None:
    world = World()
    node = await world.replica()
    await node.say("hello")
    await node.ended()
    [entry] = await world.log()
    assert isinstance(entry.body, SendMessage)
    assert (entry.body.text, entry.body.attempt, entry.body.revised, entry.body.origin) == (
        "re: hello!",
        1,
        False,
        "user",
    )
    assert entry.body.latency_ms == 30
    assert not entry.body.waiting
    await world.check()


@virtual
async def test_questions_follow_their_answer_in_the_log() -> None:
    world = World()
    node = await world.replica()
    node.agent.questions = (Question("i1", "sure?"), Question("i2", {"really": True}))
    await node.say("hello")
    await node.ended()
    answer, *asked_for = [entry.body for entry in await world.log()]
    assert isinstance(answer, SendMessage)
    assert answer.waiting
    assert asked_for == [RequestInput("i1:1", "sure?"), RequestInput("i2:1", {"really": True})]
    for cursor in range(4):
        reader = Reader(await node.subscribe(KEY, cursor=cursor))
        await reader.drain()
        assert (len(reader.log), reader.users) == (3 - cursor, ["request-hello"] * (cursor < 3))
        reader.close()


@virtual
async def test_an_answer_other_than_the_one_streamed_is_marked_as_revised() -> None:
    world = World()
    node = await world.replica()

    async def changes_its_mind(attempt: Attempt) -> str:
        await echo(attempt)
        return "something else"

    node.agent.script = changes_its_mind
    await node.say("hello")
    await node.ended()
    [entry] = await world.log()
    assert isinstance(entry.body, SendMessage)
    assert (entry.body.text, entry.body.revised) == ("something else", True)


@virtual
async def test_a_failure_that_may_pass_is_tried_again_under_a_higher_attempt() -> None:
    world = World()
    node = await world.replica()

    async def overloaded_once(attempt: Attempt) -> str:
        if attempt.claim.tries == 1:
            attempt.text("m", "half an ans")
            raise AgentRaised("overloaded", retryable=True)
        return await echo(attempt)

    node.agent.script = overloaded_once
    await node.say("hello")
    await node.ended()
    assert [(claim.run, claim.tries) for claim in node.agent.runs] == [(1, 1), (2, 2)]
    [entry] = await world.log()
    assert isinstance(entry.body, SendMessage)
    assert entry.body.attempt == 2
    await world.check()


@virtual
async def test_tries_are_bounded_and_the_last_failure_is_the_end() -> None:
    world = World()
    node = await world.replica()

    async def overloaded(attempt: Attempt) -> str:
        raise AgentRaised("overloaded", retryable=True)

    node.agent.script = overloaded
    await node.say("hello")
    await node.ended()
    assert len(node.agent.runs) == 3
    [entry] = await world.log()
    assert entry.body == ReportFailure("model_failed", "overloaded", 3, retryable=True)
    await world.check()


@virtual
async def test_a_lasting_failure_that_showed_nothing_ends_at_once_and_leaves_nothing_in_the_state() -> None:
    world = World()
    node = await world.replica()
    await node.say("first")
    await node.ended()
    heard = await world.heard()

    async def refused_by_the_provider(attempt: Attempt) -> str:
        raise AgentRaised("no such model")

    node.agent.script = refused_by_the_provider
    await node.say("second")
    await node.ended()
    assert len(node.agent.runs) == 2
    assert await world.ends() == ["re: first!", "model_failed"]
    assert (await world.heard(), node.agent.settled) == (heard, [])
    node.agent.script = echo
    await node.say("third")
    await node.ended()
    await world.check()


@virtual
@pytest.mark.parametrize("commits", [False, True])
async def test_a_failure_in_the_middle_leaves_a_history_that_is_whole(commits: bool) -> None:
    world = World()
    node = await world.replica()

    async def fails_halfway(attempt: Attempt) -> str:
        if commits:
            await attempt.commit_superstep(await node.agent.after(attempt.claim, partly=True))
        return await failing(attempt)

    node.agent.script = fails_halfway
    receipt = await node.say("first")
    await node.ended()
    assert len(node.agent.runs) == 1
    [settling] = node.agent.settled
    assert (settling.reason, settling.texts) == ("failed", (("m", "half an ans"),))
    assert (settling.head != settling.claim.head) is commits
    assert await world.ends() == ["model_failed"]
    assert await world.heard() == [receipt.event.id]
    await world.check()


@virtual
async def test_a_history_that_cannot_be_made_whole_goes_back() -> None:
    world = World()
    node = await world.replica()
    node.agent.unsettling = ZeroDivisionError()

    async def fails_after_a_superstep(attempt: Attempt) -> str:
        await attempt.commit_superstep(await node.agent.after(attempt.claim, partly=True))
        assert len(await world.heard()) == 1
        return await failing(attempt)

    node.agent.script = fails_after_a_superstep
    await node.say("first")
    await node.ended()
    assert await world.ends() == ["model_failed"]
    assert await world.heard() == []
    await world.check()


@virtual
async def test_an_event_that_kills_its_owner_each_time_becomes_a_dead_letter_and_lets_the_next_one_pass() -> None:
    world = World()
    for boot in range(3):
        node = await world.replica("a")

        async def deadly(attempt: Attempt) -> str:
            if asked(attempt.claim) == "poison":
                await asyncio.sleep(3600)
            return await echo(attempt)

        node.agent.script = deadly
        node.poll()
        if boot == 0:
            await node.say("poison")
            await node.say("harmless")
        await until(lambda node=node: node.agent.running == 1)  # type: ignore[misc]
        await node.crash()
    node = await world.replica("a")
    node.poll()
    await node.ended()
    assert [asked(claim) for claim in node.agent.runs] == ["harmless"]
    assert await world.ends() == ["poisoned", "re: harmless!"]
    await world.check()
    await node.stop()


@virtual
async def test_an_attempt_is_harmless_once_its_gate_is_closed() -> None:
    world = World()
    node = await world.replica()
    left: list[Attempt] = []

    async def leaves_something_behind(attempt: Attempt) -> str:
        left.append(attempt)
        return await echo(attempt)

    node.agent.script = leaves_something_behind
    reader = Reader(await node.subscribe(KEY, cursor=0))
    held = world.trouble.hold("commit", "before")
    await node.say("hello")
    await held.reached.wait()
    [attempt] = left
    calls = len(world.trouble.calls)
    attempt.text(attempt.claim.event.id, "a late thought")
    attempt.text_ends(attempt.claim.event.id)
    attempt.tool("call", "search", "started")
    attempt.begin_with([("m", "later")])
    with pytest.raises(Fenced):
        await attempt.commit_superstep(StateChange())
    assert len(world.trouble.calls) == calls
    await reader.drain()
    assert (reader.text, reader.tools) == ("re: hello!", {})
    held.release()
    await node.ended()
    await world.check()
    reader.close()


@virtual
async def test_an_agent_that_cancels_itself_has_failed() -> None:
    world = World()
    node = await world.replica()

    async def cancels_itself(attempt: Attempt) -> str:
        raise asyncio.CancelledError

    node.agent.script = cancels_itself
    await node.say("hello")
    await node.ended()
    assert await world.ends() == ["model_failed"]


@virtual
async def test_an_answer_that_no_store_can_hold_ends_as_a_failure_and_not_in_a_loop() -> None:
    world = World()
    node = await world.replica()
    node.agent.questions = (Question("i1", "\x00"),)
    await node.say("hello")
    await node.ended()
    assert await world.ends() == ["model_failed"]
    assert len(node.agent.runs) == 1
    await world.check()


@virtual
async def test_a_defect_in_an_agent_ends_its_event_and_stops_no_other() -> None:
    world = World()
    node = await world.replica()
    node.poll()

    async def broken(attempt: Attempt) -> str:
        if asked(attempt.claim) == "hello":
            raise ZeroDivisionError
        return await echo(attempt)

    node.agent.script = broken
    await node.say("hello")
    await node.say("next")
    await until(lambda: len(node.agent.runs) == 1)
    await node.ended()
    assert await world.ends() == ["poisoned", "re: next!"]
    assert len(node.live) == 0
    await world.check()
    await node.stop()


@virtual
async def test_an_unknown_agent_is_refused_before_anything_is_stored() -> None:
    world = World()
    node = await world.replica()
    key = SessionKey("ann", "nobody", "t2")
    with pytest.raises(UnknownAgent):
        await node.say("hello", key)
    assert await world.view(key) is None


@virtual
async def test_an_agent_that_is_served_no_more_ends_what_waits_for_it() -> None:
    world = World()
    node = await world.replica()
    node.accept._agents = _AnyAgent(node.agent)  # what was served when the event came
    key = SessionKey("ann", "retired", "t2")
    await node.say("hello", key)
    await node.ended(key)
    assert await world.ends(key) == ["model_failed"]


class _AnyAgent(OneAgent):
    def get(self, agent_id: str):  # type: ignore[no-untyped-def]
        return super().get("demo")


@virtual
async def test_effects_of_nodes_are_committed_with_the_answer_under_keys_that_a_repeat_makes_again() -> None:
    world = World()
    node = await world.replica()
    node.agent.effects = (
        NodeEffect(ScheduleTimer(60.0), "agent", 1, 0),
        NodeEffect(ScheduleTimer(90.0), "agent", 1, 1),
    )
    world.trouble.doubt("commit", applied=False)
    await node.say("hello")
    await node.ended()
    effects = world.store.database.sessions[KEY.thread_id].effects
    event = (await world.log())[0].event.id
    assert list(effects) == [
        f"{event}//0/0/send_message",
        f"{event}/agent/1/0/schedule_timer",
        f"{event}/agent/1/1/schedule_timer",
    ]
