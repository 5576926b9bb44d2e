"""Two replicas over one store: the session moves, what ran is run anew, and the loser's late result is dropped."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.reader import Reader
from tests.application.scripted_agent import echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, LEASE_S, World, remembered, until
from unbroken.application.deliveries import ShowReset
from unbroken.domain.effects import SendMessage
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import SessionKey


async def long(attempt: Attempt) -> str:
    attempt.text("m", "a long ")
    await asyncio.sleep(30)
    attempt.text("m", "answer")
    return "a long answer"


@virtual
async def test_what_closing_cuts_off_is_taken_over_under_a_higher_attempt() -> None:
    world = World()
    first = await world.replica("a")
    first.agent.script = long
    first.poll()
    await first.say("hello")
    await first.say("next")
    await until(lambda: first.agent.running == 1)
    await first.stop()
    assert first.agent.running == 0, "the agent's own clean-up is over when closing returns"
    assert len(first.queue) == 0

    second = await world.replica("b")
    reader = Reader(await second.subscribe(KEY, cursor=0))
    second.poll()
    async with reader.following():
        await second.ended()
    assert [(claim.run, claim.tries, claim.taken_over) for claim in second.agent.runs] == [
        (2, 1, True),
        (3, 1, False),
    ]
    assert [item.reason for item in reader.seen if isinstance(item, ShowReset)] == ["takeover", "started"]
    assert await world.ends() == ["re: hello!", "re: next!"]
    reader.close()
    await world.check()
    await second.stop()


@virtual
async def test_closing_with_grace_hands_over_without_a_try_lost() -> None:
    world = World()
    first, second = await world.replica("a"), await world.replica("b")
    await first.say("hello")
    await until(lambda: first.agent.running == 1)
    await first.stop(grace_s=5.0)
    assert await world.ends() == ["re: hello!"]
    await second.say("next")
    await second.ended()
    assert second.agent.runs[0].tries == 1
    await world.check()


@virtual
async def test_closing_waits_for_a_commit_that_has_begun() -> None:
    world = World()
    node = await world.replica()
    held = world.trouble.hold("commit", "after")
    await node.say("hello")
    await held.reached.wait()
    closing = asyncio.create_task(node.queue.close(grace_s=0.0))
    await asyncio.sleep(5)
    assert not closing.done()
    held.release()
    await closing
    await world.check()


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_stalled_owner_that_thaws_late_changes_nothing(stage: str) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        stalled, heir = await world.replica("a"), await world.replica("b")
        held = world.trouble.hold("commit", "before" if stage == "before" else "after")
        old_reader = Reader(await stalled.subscribe(KEY, cursor=0))
        await stalled.say("hello")
        await held.reached.wait()
        await asyncio.sleep(LEASE_S + 1)
        heir.poll()
        await asyncio.sleep(1)
        await heir.ended()
        entries = await world.log()
        held.release()
        await stalled.ended()
        assert await world.log() == entries
        [entry] = entries
        assert isinstance(entry.body, SendMessage)
        assert entry.body.attempt == (2 if stage == "before" else 1)
        await old_reader.follow_to(1)
        assert old_reader.log == entries
        old_reader.close()
        assert len(stalled.live) == 0
        assert remembered(stalled.queue) == 0
        await world.check()
        await heir.stop()

    scenario()


@virtual
async def test_a_stalled_owner_s_superstep_is_refused_and_ends_its_attempt() -> None:
    world = World()
    stalled, heir = await world.replica("a"), await world.replica("b")

    async def two_steps(attempt: Attempt) -> str:
        await asyncio.sleep(LEASE_S + 5)
        await attempt.commit_superstep(await stalled.agent.after(attempt.claim, partly=True))
        raise AssertionError("a fenced superstep was committed")

    stalled.agent.script = two_steps
    await stalled.say("hello")
    await asyncio.sleep(LEASE_S + 1)
    heir.poll()
    await heir.ended()
    await stalled.ended()
    await asyncio.sleep(10)
    assert await world.ends() == ["re: hello!"]
    await world.check()
    await heir.stop()


@virtual
async def test_readers_of_a_fenced_replica_learn_the_end_from_the_store() -> None:
    world = World()
    stalled, heir = await world.replica("a"), await world.replica("b")
    stalled.agent.script = long
    reader = Reader(await stalled.subscribe(KEY, cursor=0))
    await stalled.say("hello")
    await asyncio.sleep(LEASE_S + 1)
    heir.agent.script = long
    heir.poll()
    await heir.ended()
    await until(lambda: not len(stalled.queue))
    await stalled.queue.catch_up()
    await reader.follow_to(1)
    reader.close()
    assert len(stalled.live) == 0
    await world.check()
    await heir.stop()


@virtual
async def test_readers_of_an_idle_session_learn_what_is_said_and_answered_at_another_replica() -> None:
    world = World()
    here, there = await world.replica("a"), await world.replica("b")
    reader = Reader(await here.subscribe(KEY, cursor=0))
    here.poll()
    async with reader.following():
        for text in ("first", "second"):
            await there.say(text)
            await there.ended()
            await asyncio.sleep(1.5)
            assert reader.cursor == (await world.view()).log_index  # type: ignore[union-attr]
    reader.close()
    await here.stop()


@virtual
async def test_a_session_that_comes_back_after_somebody_else_served_it_is_followed_without_a_hole() -> None:
    world = World()
    here, there = await world.replica("a"), await world.replica("b")
    reader = Reader(await here.subscribe(KEY, cursor=0))
    async with reader.following():
        await here.say("first")
        await here.ended()
        await there.say("second")
        await there.ended()
        await here.say("third")
        await here.ended()
    assert reader.log == await world.log()
    assert reader.texts() == {"request-third": "re: third!", "request-first": "re: first!"}
    reader.close()


@virtual
async def test_a_claim_that_went_stale_while_it_waited_for_a_slot_gives_way_to_the_newer_one() -> None:
    world = World()
    here, there = await world.replica("a", slots=1), await world.replica("b")
    await here.say("first")
    await here.say("second")
    await here.say("busy", SessionKey("ann", "demo", "another"))
    await until(lambda: here.agent.running == 1)
    here.agent.script = long
    await asyncio.sleep(LEASE_S + 1)
    there.poll()
    await asyncio.sleep(5)
    assert await world.ends() == ["re: first!", "re: second!"]
    await there.stop()
    await world.store.replicas.renew(here.id, lease_ttl_s=LEASE_S)  # alive again, its accept claims
    here.poll()
    await here.say("third")
    await here.ended()
    assert [(claim.event.seq, claim.tries) for claim in here.agent.runs if claim.key == KEY] == [(1, 1), (3, 1)]
    await world.check()
    await here.stop()


@virtual
async def test_a_message_that_meets_a_lapsed_lease_is_tried_once_by_whoever_is_alive() -> None:
    world = World()
    lapsed, alive = await world.replica("a"), await world.replica("b")
    await asyncio.sleep(LEASE_S + 1)
    await world.store.replicas.renew(alive.id, lease_ttl_s=LEASE_S)
    assert (await lapsed.say("hello")).claim is None
    lapsed.poll()
    alive.poll()
    await lapsed.ended()
    assert [(claim.event.seq, claim.tries) for node in (lapsed, alive) for claim in node.agent.runs] == [(1, 1)]
    await world.check()
    await lapsed.stop()
    await alive.stop()


@virtual
async def test_a_message_to_the_only_replica_waits_no_longer_than_its_heartbeat_and_a_poll() -> None:
    world = World()
    node = await world.replica("a")
    await asyncio.sleep(LEASE_S + 1)
    node.poll()
    await node.say("hello")
    began = asyncio.get_running_loop().time()
    await until(lambda: bool(node.agent.runs))
    assert asyncio.get_running_loop().time() - began <= LEASE_S / 3 + 1.0 + 0.1
    await node.ended()
    await world.check()
    await node.stop()


@virtual
async def test_a_replaced_boot_that_does_not_know_it_does_not_spin() -> None:
    world = World()
    old = await world.replica("a")
    old.agent.script = echo
    held = world.trouble.hold("commit", "before")
    await old.say("hello")
    await held.reached.wait()
    await world.replica("a")
    held.release()
    before = len(world.trouble.calls)
    await asyncio.sleep(10)
    assert len(world.trouble.calls) - before < 60
    await old.stop()


@pytest.mark.parametrize("seed", range(60))
def test_replicas_that_come_and_go_leave_each_event_one_end(seed: int) -> None:
    @virtual
    async def scenario() -> None:
        world = World(seed)
        spoken = 0
        for boot in range(4):
            node = await world.replica(f"replica-{boot % 2}")
            node.poll()
            for _ in range(3):
                await node.say(str(spoken))
                spoken += 1
                await asyncio.sleep((seed * 7 + boot * 3) % 11 / 100)
            await node.stop(grace_s=(seed % 3) / 50)
        last = await world.replica("last")
        last.poll()
        await last.ended()
        assert await world.ends() == [f"re: {number}!" for number in range(spoken)]
        await world.check()
        await last.stop()

    scenario()


@virtual
async def test_closing_waits_for_a_superstep_whose_commit_has_begun() -> None:
    world = World()
    node = await world.replica()

    async def steps(attempt: Attempt) -> str:
        await attempt.commit_superstep(await node.agent.after(attempt.claim, partly=True))
        return await long(attempt)

    node.agent.script = steps
    held = world.trouble.hold("commit", "after")
    await node.say("hello")
    await held.reached.wait()
    closing = asyncio.create_task(node.queue.close(grace_s=0.0))
    await asyncio.sleep(5)
    assert not closing.done(), "whoever comes next must find the head where it will stay"
    held.release()
    await closing


@virtual
async def test_what_a_later_message_has_overtaken_does_not_hold_it_up() -> None:
    world = World()
    stalled, heir = await world.replica("a"), await world.replica("b")

    async def never(attempt: Attempt) -> str:
        await asyncio.sleep(3600)
        return ""

    stalled.agent.script = never
    await stalled.say("hello")
    await until(lambda: stalled.agent.running == 1)
    await asyncio.sleep(LEASE_S + 1)
    heir.poll()
    await heir.ended()
    await world.store.replicas.renew(stalled.id, lease_ttl_s=LEASE_S)
    stalled.agent.script = echo
    await stalled.say("next")
    await until(lambda: len(stalled.agent.runs) == 2, limit_s=1.0)
    await stalled.ended()
    assert await world.ends() == ["re: hello!", "re: next!"]
    await world.check()
    await heir.stop()
