"""What a graph owes besides its answer: executed in order, at least once; timers fire once or never (I10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.application.scripted_agent import OneAgent, echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World, until
from unbroken.domain.effects import EffectStatus, ScheduleTimer, SendMessage
from unbroken.domain.errors import CommitUnknown, StoreUnavailable
from unbroken.domain.events import TimerFired, UserMessage
from unbroken.domain.ports.agent import Agent, Attempt
from unbroken.domain.ports.timers import Timers
from unbroken.domain.session import SessionKey
from unbroken.domain.turn import NodeEffect


def sets(node: Node, *timers: ScheduleTimer) -> None:
    """The next answer to a user's message owes these; what a timer causes owes nothing."""

    async def once(attempt: Attempt) -> str:
        owing = isinstance(attempt.claim.event.body, UserMessage) and attempt.claim.event.seq == 1
        effects = [NodeEffect(timer, "agent", 1, ordinal) for ordinal, timer in enumerate(timers)]
        node.agent.effects = tuple(effects) if owing else ()
        return await echo(attempt)

    node.agent.script = once


class WatchedTimers(Timers):
    """The real ones, with a note of each call, and failures on order."""

    def __init__(self, timers: Timers, fails: Callable[[str], bool] = lambda timer_id: False) -> None:
        self.scheduled: list[tuple[str, str]] = []
        self._timers = timers
        self._fails = fails
        self.due = timers.due  # type: ignore[method-assign]
        self.next_due_s = timers.next_due_s  # type: ignore[method-assign]

    async def schedule(self, thread_id: str, timer_id: str, **about: Any) -> None:
        self.scheduled.append((thread_id, timer_id))
        if self._fails(timer_id):
            raise RuntimeError("cannot be set")
        await self._timers.schedule(thread_id, timer_id, **about)

    async def due(self, *, limit: int) -> Any: ...

    async def next_due_s(self) -> Any: ...


def statuses(world: World, key: SessionKey = KEY) -> list[EffectStatus]:
    effects = world.store.database.sessions[key.thread_id].effects.values()
    return [effect.status for effect in effects if effect.log_index is None]


@virtual
async def test_effects_of_a_session_are_executed_in_order() -> None:
    world = World()
    node = await world.replica()
    watched = node.effects._timers = WatchedTimers(world.store.timers)
    sets(node, *(ScheduleTimer(60.0, timer_id=f"timer {n}") for n in range(5)))
    for number in range(3):
        await node.say("hello", SessionKey("ann", "demo", f"t{number}"))
    await until(lambda: not len(node.queue))
    while await node.effects.once():
        pass
    for number in range(3):
        assert [t for thread, t in watched.scheduled if thread == f"t{number}"] == [f"timer {n}" for n in range(5)]
        assert set(statuses(world, SessionKey("ann", "demo", f"t{number}"))) == {EffectStatus.COMPLETED}


@virtual
async def test_an_effect_is_executed_without_waiting_for_a_poll() -> None:
    world = World()
    node = await world.replica()
    node.effects._interval_s = 3600.0
    node.poll()
    sets(node, ScheduleTimer(60.0, timer_id="t"))
    await node.say("hello")
    await node.ended()
    await asyncio.sleep(0.1)
    assert statuses(world) == [EffectStatus.COMPLETED]
    await node.stop()


@pytest.mark.parametrize("trouble", ["refused", "applied", "lost", "complete lost", "complete applied"])
def test_an_effect_whose_store_fails_is_executed_again_and_its_timer_set_once(trouble: str) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        watched = node.effects._timers = WatchedTimers(world.store.timers)
        node.poll()
        sets(node, ScheduleTimer(60.0, timer_id="t"))
        if trouble == "refused":
            world.trouble.refuse("schedule")
        else:
            operation = "complete" if trouble.startswith("complete") else "schedule"
            world.trouble.doubt(operation, applied=trouble.endswith("applied"))
        await node.say("hello")
        await node.ended()
        await asyncio.sleep(40)
        assert statuses(world) == [EffectStatus.COMPLETED]
        assert len(watched.scheduled) == (1 if trouble == "complete applied" else 2)
        await until(lambda: len(node.agent.runs) == 2)
        await asyncio.sleep(200)
        assert len(node.agent.runs) == 2
        await world.check()
        await node.stop()

    scenario()


@virtual
async def test_an_effect_that_fails_is_a_visible_dead_letter_after_its_tries_and_lets_the_next_one_pass() -> None:
    world = World()
    node = await world.replica()
    watched = node.effects._timers = WatchedTimers(world.store.timers, lambda timer_id: timer_id == "bad")
    node.poll()
    sets(node, ScheduleTimer(60.0, timer_id="bad"), ScheduleTimer(60.0, timer_id="good"))
    await node.say("hello")
    await node.ended()
    await asyncio.sleep(30)
    assert [timer for _, timer in watched.scheduled] == ["bad"] * 3 + ["good"]
    assert statuses(world) == [EffectStatus.FAILED, EffectStatus.COMPLETED]
    await node.stop()


@virtual
async def test_a_runner_that_is_stopped_while_it_is_woken_stops() -> None:
    world = World()
    node = await world.replica()
    running = asyncio.create_task(node.effects.forever())
    await asyncio.sleep(0.5)
    node.effects.wake()
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running}, timeout=5)
    assert running.cancelled()


@virtual
async def test_two_runners_execute_each_effect_once() -> None:
    world = World()
    first, second = await world.replica("a"), await world.replica("b")
    watched = first.effects._timers = second.effects._timers = WatchedTimers(world.store.timers)
    sets(first, *(ScheduleTimer(60.0, timer_id=f"timer {n}") for n in range(3)))
    for number in range(10):
        await first.say("hello", SessionKey("ann", "demo", f"t{number}"))
    await until(lambda: not len(first.queue))

    async def work_off(node: Node) -> None:
        while await node.effects.once():
            pass

    await asyncio.gather(work_off(first), work_off(second))
    await asyncio.gather(work_off(first), work_off(second))
    assert len(watched.scheduled) == len(set(watched.scheduled)) == 30


@virtual
async def test_a_timer_becomes_one_event_answered_by_the_agent_unasked() -> None:
    world = World()
    node = await world.replica()
    node.poll()
    sets(node, ScheduleTimer(60.0, {"about": "tea"}, "tea"))
    await node.say("hello")
    await node.ended()
    began = world.clock.monotonic()
    await until(lambda: len(node.agent.runs) == 2)
    assert 60.0 <= world.clock.monotonic() - began <= 66.0
    await node.ended()
    await asyncio.sleep(100)
    answer, reminder = await world.log()
    assert isinstance(reminder.event.body, TimerFired)
    assert (reminder.event.body.timer_id, reminder.event.body.payload) == ("tea", {"about": "tea"})
    assert isinstance(answer.body, SendMessage)
    assert isinstance(reminder.body, SendMessage)
    assert (answer.body.origin, reminder.body.origin) == ("user", "agent")
    await world.check()
    await node.stop()


@virtual
async def test_two_replicas_promote_a_timer_once() -> None:
    world = World(seed=3)
    first, second = await world.replica("a"), await world.replica("b")
    for node in (first, second):
        node.poll()
    sets(first, *(ScheduleTimer(5.0, timer_id=f"timer {n}") for n in range(5)))
    await first.say("hello")
    await asyncio.sleep(30)
    assert len(first.agent.runs) + len(second.agent.runs) == 6
    for node in (first, second):
        await node.ended()
        await node.stop()
    await world.check()


@virtual
async def test_the_user_s_next_message_cancels_the_timer() -> None:
    world = World()
    node = await world.replica()
    node.poll()
    sets(node, ScheduleTimer(60.0, timer_id="t"))
    await node.say("hello")
    await node.ended()
    await asyncio.sleep(30)
    await node.say("still here")
    await asyncio.sleep(200)
    assert [claim.event.seq for claim in node.agent.runs] == [1, 2]
    await node.stop()


@virtual
async def test_a_message_between_the_commit_and_the_runner_cancels_the_timer_too() -> None:
    world = World()
    node = await world.replica()
    sets(node, ScheduleTimer(60.0, timer_id="t"))
    await node.say("hello")
    await node.ended()
    await node.say("still here")
    node.poll()
    await asyncio.sleep(200)
    assert [claim.event.seq for claim in node.agent.runs] == [1, 2]
    assert statuses(world) == [EffectStatus.COMPLETED]
    await node.stop()


@virtual
async def test_a_fired_timer_that_a_message_overtook_ends_unstarted_and_unseen() -> None:
    world = World()
    node = await world.replica()
    node.poll()

    async def slow_on_timers(attempt: Attempt) -> str:
        timers = [ScheduleTimer(1.0, timer_id=name) for name in "ab"] if attempt.claim.event.seq == 1 else []
        node.agent.effects = tuple(NodeEffect(timer, "agent", 1, n) for n, timer in enumerate(timers))
        if isinstance(attempt.claim.event.body, TimerFired):
            await asyncio.sleep(30)
        return await echo(attempt)

    node.agent.script = slow_on_timers
    await node.say("hello")
    await node.ended()
    await asyncio.sleep(10)
    view = await world.view()
    assert view is not None
    assert len(view.pending) == 2
    receipt = await node.say("I am back")
    assert receipt.event.seq == 4
    await node.ended()
    assert [claim.event.seq for claim in node.agent.runs] == [1, 2, 4]
    assert [entry.event.seq for entry in await world.log()] == [1, 2, 4]
    await world.check()
    await node.stop()


async def with_timers_due(world: World, node: Node, keys: list[SessionKey]) -> None:
    """Each session has one timer that is due, and nothing promotes it yet."""
    sets(node, ScheduleTimer(1.0, timer_id="t"))
    for key in keys:
        await node.say("hello", key)
    await until(lambda: not len(node.queue))
    while await node.effects.once():
        pass
    await asyncio.sleep(2)


@virtual
async def test_a_timer_that_cannot_fire_holds_up_no_other_and_hurries_nobody() -> None:
    """More of them than one look takes: sessions whose agent is served no more, or whose queue is full."""
    world = World()
    node = await world.replica()
    agents = node.accept._agents
    node.accept._agents = node.processor._agents = AnyAgent(node.agent)
    stuck = [SessionKey("ann", "a former one", f"stuck {n}") for n in range(150)]
    await with_timers_due(world, node, [*stuck, KEY])
    node.accept._agents = node.processor._agents = agents
    calls = len(world.trouble.calls)
    node.poll()
    await asyncio.sleep(20)
    assert [claim.event.seq for claim in node.agent.runs if claim.key == KEY] == [1, 2]
    assert world.trouble.calls[calls:].count("due") <= 25
    await node.stop()


@virtual
async def test_a_full_queue_delays_its_own_timer_only() -> None:
    world = World()
    node = await world.replica()
    full, other = SessionKey("ann", "demo", "full"), SessionKey("ann", "demo", "other")
    await with_timers_due(world, node, [full, other])
    node.accept._queue_limit = 0
    assert await node.timers.once() == 0
    node.accept._queue_limit = 20
    accept = world.store.event_store.accept

    async def full_for_one(key: SessionKey, new: Any, **about: Any) -> Any:
        return await accept(key, new, **{**about, "queue_limit": 0 if key == full else 20})

    world.store.event_store.accept = full_for_one  # type: ignore[method-assign]
    assert await node.timers.once() == 1
    world.store.event_store.accept = accept  # type: ignore[method-assign]
    assert await node.timers.once() == 1
    for key in (full, other):
        await node.ended(key)
        await world.check(key)


@virtual
async def test_a_client_cannot_take_a_timer_s_request_id_before_it_fires() -> None:
    world = World()
    node = await world.replica()
    for name in ("timer:t:1", "timer:t:2", "timer.t.1"):
        await node.say("hello", request_id=name)
    await node.ended()

    async def sets_one(attempt: Attempt) -> str:
        seq = attempt.claim.event.seq
        node.agent.effects = (NodeEffect(ScheduleTimer(1.0, timer_id="t"), "agent", 1, 0),) if seq == 4 else ()
        return await echo(attempt)

    node.agent.script = sets_one
    node.poll()
    await node.say("now set it")
    await asyncio.sleep(10)
    assert [claim.event.seq for claim in node.agent.runs] == [1, 2, 3, 4, 5]
    await node.stop()


@pytest.mark.parametrize("error", [StoreUnavailable, CommitUnknown])
def test_a_timer_whose_accept_fails_fires_once_all_the_same(error: type[Exception]) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        await with_timers_due(world, node, [KEY])
        if error is StoreUnavailable:
            world.trouble.refuse("accept")
        else:
            world.trouble.doubt("accept", applied=True)
        node.poll()
        await asyncio.sleep(10)
        assert [claim.event.seq for claim in node.agent.runs] == [1, 2]
        await world.check()
        await node.stop()

    scenario()


class AnyAgent(OneAgent):
    def get(self, agent_id: str) -> Agent:
        return super().get("demo")


@virtual
async def test_a_fired_timer_s_event_carries_the_context_of_the_turn_that_set_it() -> None:
    world = World()
    node = await world.replica()
    node.poll()
    sets(node, ScheduleTimer(1.0, timer_id="t"))
    await node.accept(KEY, "asked", UserMessage("wake me"), trace_context={"traceparent": "00-1-2-01"})
    await until(lambda: len(node.agent.runs) == 2)
    await node.ended()
    fired = [entry.event for entry in await world.log() if isinstance(entry.event.body, TimerFired)]
    assert [event.trace_context for event in fired] == [{"traceparent": "00-1-2-01"}]
    await node.stop()
