"""Events of one session in order, sessions side by side and in turn, and nothing kept when nothing waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from tests.application.reader import Reader
from tests.application.scripted_agent import asked, echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, World, remembered, until
from unbroken.application import event_queue
from unbroken.domain.errors import AgentRaised, QueueFull
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import Position, SessionKey


def key(number: int) -> SessionKey:
    return SessionKey("ann", "demo", f"t{number}")


@virtual
async def test_events_of_a_session_end_in_the_order_of_their_acceptance() -> None:
    world = World()
    node = await world.replica()
    for number in range(10):
        await node.say(str(number))
    await node.ended()
    assert await world.ends() == [f"re: {number}!" for number in range(10)]
    assert [claim.event.seq for claim in node.agent.runs] == list(range(1, 11))
    await world.check()


@virtual
async def test_one_event_of_a_session_runs_at_a_time() -> None:
    world = World()
    node = await world.replica()
    await asyncio.gather(*(node.say(str(number)) for number in range(8)))
    await node.ended()
    assert node.agent.most_running == 1
    await world.check()


@virtual
async def test_a_retry_never_lets_a_later_event_overtake() -> None:
    world = World()
    node = await world.replica()
    failures = Counter({"0": 2, "2": 1})

    async def flaky(attempt: Attempt) -> str:
        word = asked(attempt.claim)
        if failures[word]:
            failures[word] -= 1
            raise AgentRaised("overloaded", retryable=True)
        return await echo(attempt)

    node.agent.script = flaky
    for number in range(4):
        await node.say(str(number))
    await node.ended()
    assert [claim.event.seq for claim in node.agent.runs] == [1, 1, 1, 2, 3, 3, 4]
    assert await world.ends() == [f"re: {number}!" for number in range(4)]


@virtual
async def test_sessions_run_side_by_side() -> None:
    world = World()
    node = await world.replica(slots=5)
    await asyncio.gather(*(node.say("hello", key(number)) for number in range(5)))
    await until(lambda: not len(node.queue))
    assert node.agent.most_running == 5


@virtual
async def test_no_more_turns_run_at_once_than_there_are_slots() -> None:
    world = World()
    node = await world.replica(slots=2)
    await asyncio.gather(*(node.say("hello", key(number)) for number in range(7)))
    await until(lambda: not len(node.queue))
    assert node.agent.most_running == 2
    for number in range(7):
        await world.check(key(number))


@virtual
async def test_with_one_slot_busy_sessions_alternate() -> None:
    world = World()
    node = await world.replica(slots=1)
    for number in range(4):
        await node.say(str(number), key(1))
    for number in range(4):
        await node.say(str(number), key(2))
    await until(lambda: not len(node.queue))
    threads = [claim.key.thread_id for claim in node.agent.runs]
    assert threads == ["t1", "t2"] * 4


@virtual
async def test_a_session_that_waits_to_try_again_keeps_no_slot() -> None:
    world = World()
    node = await world.replica(slots=1)

    async def fails_once(attempt: Attempt) -> str:
        if attempt.claim.key == key(1) and attempt.claim.tries == 1:
            raise AgentRaised("overloaded", retryable=True)
        return await echo(attempt)

    node.agent.script = fails_once
    await node.say("hello", key(1))
    await node.say("hello", key(2))
    await until(lambda: not len(node.queue))
    assert [claim.key.thread_id for claim in node.agent.runs] == ["t1", "t2", "t1"]


@virtual
async def test_queues_and_sessions_vanish_when_nothing_waits() -> None:
    world = World()
    node = await world.replica()
    for number in range(30):
        await node.say("hello", key(number))
    assert len(node.queue) == 30
    await until(lambda: not len(node.queue))
    assert len(node.live) == 0
    assert remembered(node.queue) == 0


@virtual
async def test_a_full_queue_refuses_and_loses_nothing() -> None:
    world = World()
    node = await world.replica()
    results = await asyncio.gather(*(node.say(str(number)) for number in range(25)), return_exceptions=True)
    assert sum(isinstance(result, QueueFull) for result in results) == 5
    await node.ended()
    assert len(await world.ends()) == 20
    assert not (await node.say("0")).claim
    await world.check()


@virtual
async def test_a_repeated_request_runs_once() -> None:
    world = World()
    node = await world.replica()
    receipts = await asyncio.gather(*(node.say("hello", request_id="r1") for _ in range(5)))
    await node.ended()
    again = await node.say("hello", request_id="r1")
    assert [receipt.event.seq for receipt in (*receipts, again)] == [1] * 6
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    await asyncio.sleep(1)
    assert len(node.agent.runs) == 1
    assert "claim" not in world.trouble.calls, "a repetition is no reason to look for work"
    assert len(node.queue) == 0


@virtual
async def test_closing_begins_nothing_new_and_lets_running_turns_finish() -> None:
    world = World()
    node = await world.replica(slots=1)
    for number in range(3):
        await node.say("hello", key(number))
    await until(lambda: node.agent.running == 1)
    await node.queue.close(grace_s=5.0)
    assert [claim.key for claim in node.agent.runs] == [key(0)]
    assert await world.ends(key(0)) == ["re: hello!"]
    assert len(node.queue) == 0


@virtual
async def test_closing_does_not_wait_for_a_pause_between_two_tries() -> None:
    world = World()
    node = await world.replica()

    async def fails(attempt: Attempt) -> str:
        raise AgentRaised("overloaded", retryable=True)

    node.agent.script = fails
    await node.say("hello")
    await until(lambda: len(node.agent.runs) == 2)
    began = world.clock.monotonic()
    await node.queue.close(grace_s=5.0)
    assert world.clock.monotonic() - began < 0.01
    assert len(node.queue) == 0


@virtual
async def test_waiting_for_a_slot_costs_no_try() -> None:
    """Else a message that kills the process takes those with it that were only waiting behind it."""
    world = World()
    first = await world.replica(slots=1)
    for number in range(3):
        await first.say("hello", key(number))
    await first.crash()
    for boot in range(4):
        node = await world.replica(slots=1)

        async def dies(attempt: Attempt) -> str:
            await asyncio.sleep(3600)
            return ""

        node.agent.script = dies
        await node.recover.once()
        await until(lambda node=node: node.agent.running == 1)  # type: ignore[misc]
        await node.crash()
        tries = sorted(world.store.database.sessions[key(n).thread_id].tries for n in range(3))
        assert tries[:2] <= [1, 1], f"boot {boot}: {tries}"


@pytest.mark.parametrize("seed", range(200))
def test_an_accept_in_the_tail_of_a_finishing_turn_is_never_stranded(seed: int) -> None:
    """Nothing polls here: whatever is accepted must be seen by the turn that ends, or start one itself."""

    @virtual
    async def scenario() -> None:
        world = World(seed)
        node = await world.replica(slots=2)

        async def at_once(attempt: Attempt) -> str:
            attempt.text("m", "yes")
            return "yes"

        node.agent.script = at_once

        async def speaker(name: str) -> None:
            for number in range(6):
                await node.say(f"{name}{number}")

        await asyncio.gather(*(speaker(name) for name in "abc"))
        await node.ended()
        assert len(node.agent.runs) == 18, "an event was counted or run twice"
        assert {claim.tries for claim in node.agent.runs} == {1}
        assert len(node.live) == 0
        assert remembered(node.queue) == 0
        await world.check(KEY)

    scenario()


@virtual
async def test_many_watched_sessions_are_asked_about_in_parts_and_each_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "ASKED_AT_ONCE", 4)
    world = World()
    node, other = await world.replica("a"), await world.replica("b")
    keys = [key(number) for number in range(10)]
    readers = [Reader(await node.subscribe(key, cursor=0)) for key in keys]
    parts: list[int] = []
    behind = world.store.sessions.behind

    async def asked_about(known: Mapping[str, Position]) -> Sequence[str]:
        parts.append(len(known))
        if len(parts) == 1:
            readers[9].close()  # it leaves before its turn to be asked about
        return await behind(known)

    world.store.sessions.behind = asked_about  # type: ignore[method-assign]
    for number in (0, 3, 8):
        await other.say("said elsewhere", key=keys[number])
        await other.ended(keys[number])
    await node.queue.catch_up()
    assert parts == [4, 4, 1]
    for number, reader in enumerate(readers[:9]):
        await reader.drain()
        assert len(reader.log) == (number in {0, 3, 8})
        reader.close()
