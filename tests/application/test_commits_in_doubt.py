"""The store fails, or its answer is lost: whatever happened there, each event reaches one end, by itself."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.application.reader import Reader
from tests.application.virtual_time import virtual
from tests.application.world import KEY, World, remembered, until
from unbroken.domain.effects import SendMessage
from unbroken.domain.errors import CommitUnknown, StoreUnavailable
from unbroken.domain.session import SessionKey

both = pytest.mark.parametrize("applied", [True, False])


@both
def test_an_accept_in_doubt_is_refused_and_asking_again_settles_it(applied: bool) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        world.trouble.doubt("accept", applied=applied)
        with pytest.raises(CommitUnknown):
            await node.say("hello")
        await asyncio.sleep(5)
        assert len(node.agent.runs) == applied, "nothing runs from memory; what was stored is found without a poll"
        receipt = await node.say("hello")
        assert (receipt.event.seq, receipt.duplicate) == (1, applied)
        await node.ended()
        assert await world.ends() == ["re: hello!"]
        await world.check()

    scenario()


@both
def test_an_accept_in_doubt_behind_a_running_turn_is_not_forgotten(applied: bool) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        await node.say("first")
        world.trouble.doubt("accept", applied=applied)
        with pytest.raises(CommitUnknown):
            await node.say("second")
        await node.ended()
        assert len(await world.ends()) == 1 + applied
        await world.check()

    scenario()


@virtual
async def test_readers_are_told_of_all_that_was_accepted_in_doubt_when_the_first_of_it_is_taken_up() -> None:
    world = World()
    node = await world.replica()
    reader = Reader(await node.subscribe(KEY, cursor=0))
    for name in ("first", "second"):
        world.trouble.doubt("accept", applied=True)
        with pytest.raises(CommitUnknown):
            await node.say(name)
    await until(lambda: node.agent.running == 1)
    await reader.drain()
    assert reader.users == ["request-first", "request-second"]
    await node.ended()
    reader.close()


@both
def test_a_finish_in_doubt_leaves_one_end_and_every_reader_sees_it(applied: bool) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        reader = await node.subscribe(KEY, cursor=0)
        world.trouble.doubt("commit", applied=applied)
        await node.say("hello")
        await node.ended()
        assert await world.ends() == ["re: hello!"]
        assert len(node.agent.runs) == 1, "the model was asked again for an answer that was there"
        while reader.cursor < 1:
            await reader.next()
        reader.close()
        assert len(node.live) == 0
        await world.check()

    scenario()


@both
def test_a_finish_in_doubt_does_not_hide_what_waits_behind_it(applied: bool) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        world.trouble.doubt("commit", applied=applied)
        await node.say("first")
        await node.say("second")
        await node.ended()
        assert await world.ends() == ["re: first!", "re: second!"]
        await world.check()

    scenario()


@virtual
async def test_an_accept_after_a_finish_in_doubt_runs_its_event_once() -> None:
    """The accept finds the session idle and counts an attempt while the queue still pauses: one of the two claims."""
    world = World()
    node = await world.replica()
    world.trouble.doubt("commit", applied=True)
    await node.say("first")
    await until(lambda: "commit" in world.trouble.calls)
    await asyncio.sleep(0.1)
    receipt = await node.say("second")
    assert receipt.claim is not None
    reader = await node.subscribe(KEY, cursor=0)
    await node.ended()
    assert [claim.event.seq for claim in node.agent.runs] == [1, 2]
    assert await world.ends() == ["re: first!", "re: second!"]
    while reader.cursor < 2:
        await reader.next()
    reader.close()
    assert remembered(node.queue) == 0
    await world.check()


@virtual
async def test_an_accept_whose_answer_comes_after_its_event_was_taken_up_runs_nothing_twice() -> None:
    world = World()
    node = await world.replica()
    held = world.trouble.hold("accept", "after")
    first = asyncio.create_task(node.say("first"))
    await held.reached.wait()
    node.queue._doors._accepts.clear()  # as if another process's accept had been lost, and this one found the event
    node.queue.hint(KEY.thread_id)
    await until(lambda: len(node.agent.runs) == 1)
    held.release()
    node.queue._doors._accepts[KEY.thread_id] = 1
    await first
    await node.ended()
    assert len(node.agent.runs) == 1
    assert await world.ends() == ["re: first!"]


@virtual
async def test_a_look_that_an_accept_meets_does_not_count_its_attempt_again() -> None:
    world = World()
    node = await world.replica()
    look = world.trouble.hold("claim", "before")
    node.queue.hint(KEY.thread_id)
    await look.reached.wait()
    saying = asyncio.create_task(node.say("hello"))
    await asyncio.sleep(1)
    look.release()
    await saying
    await node.ended()
    assert [(claim.run, claim.tries) for claim in node.agent.runs] == [(1, 1)]


@virtual
async def test_a_hint_waits_for_the_accept_that_is_on_its_way() -> None:
    world = World()
    node = await world.replica()
    held = world.trouble.hold("accept", "after")
    first = asyncio.create_task(node.say("first"))
    await held.reached.wait()
    await node.say("second")
    node.queue.hint(KEY.thread_id)
    assert await node.recover.once() == 0
    await asyncio.sleep(5)
    assert node.agent.runs == []
    held.release()
    await first
    await node.ended()
    assert [(claim.event.seq, claim.tries) for claim in node.agent.runs] == [(1, 1), (2, 1)]
    assert remembered(node.queue) == 0


@virtual
async def test_a_look_after_a_doubt_waits_for_the_accept_that_is_on_its_way() -> None:
    """The event whose commit was in doubt has ended: the accept finds the session idle, and counts an attempt."""
    world = World()
    node = await world.replica()
    world.trouble.doubt("commit", applied=True)
    await node.say("first")
    await until(lambda: world.trouble.calls.count("commit") == 2)  # the second one is fenced: a pause, and then a look
    held = world.trouble.hold("accept", "after")
    saying = asyncio.create_task(node.say("second"))
    await held.reached.wait()
    await asyncio.sleep(5)
    assert [claim.event.seq for claim in node.agent.runs] == [1]
    held.release()
    await saying
    await node.ended()
    assert [(claim.event.seq, claim.tries) for claim in node.agent.runs] == [(1, 1), (2, 1)]
    await world.check()
    assert remembered(node.queue) == 0


@virtual
async def test_an_accept_that_is_cut_off_is_found_without_a_poll() -> None:
    world = World()
    node = await world.replica()
    held = world.trouble.hold("accept", "after")
    first = asyncio.create_task(node.say("first"))
    await held.reached.wait()
    await node.say("second")
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await node.ended()
    assert await world.ends() == ["re: first!", "re: second!"]
    await world.check()


@pytest.mark.parametrize("outage_s", [0.05, 0.4, 3.0, 60.0])
def test_after_an_outage_everything_accepted_ends_by_itself(outage_s: float) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        node.poll()
        keys = [SessionKey("ann", "demo", f"t{number}") for number in range(5)]
        for key in keys:
            await node.say("first", key)
            await node.say("second", key)
        await until(lambda: node.agent.running == 5)
        world.trouble.down = True
        await asyncio.sleep(outage_s)
        with pytest.raises(StoreUnavailable):
            await node.say("third", keys[0])
        world.trouble.down = False
        for key in keys:
            await node.ended(key)
            assert await world.ends(key) == ["re: first!", "re: second!"]
            await world.check(key)
        assert len(node.live) == 0
        await node.stop()

    scenario()


@virtual
async def test_a_store_that_is_away_is_not_stormed() -> None:
    world = World()
    node = await world.replica()
    await node.say("hello")
    await until(lambda: node.agent.running == 1)
    world.trouble.down = True
    await asyncio.sleep(600)
    assert world.trouble.calls.count("claim") < 320
    world.trouble.down = False
    await node.ended()
    await world.check()


@pytest.mark.parametrize("seed", range(150))
def test_a_store_that_fails_anywhere_at_random_leaves_one_end_for_each_event(seed: int) -> None:
    @virtual
    async def scenario() -> None:
        world = World(seed)
        node = await world.replica()
        node.poll()
        trouble, chance = world.trouble, random.Random(seed)
        for operation in ["claim", *chance.choices(["accept", "commit", "commit", "view"], k=4)]:
            if chance.random() < 0.3:
                trouble.refuse(operation, skip=chance.randrange(4))
            else:
                trouble.doubt(operation, applied=chance.random() < 0.6, skip=chance.randrange(4))

        async def insist(text: str) -> None:
            while True:
                try:
                    await node.say(text)
                except (StoreUnavailable, CommitUnknown):
                    await asyncio.sleep(chance.random() / 10)
                else:
                    return

        await asyncio.gather(*(insist(str(number)) for number in range(5)))
        await node.ended()
        for entry in await world.log():
            assert isinstance(entry.body, SendMessage), entry.body
        await world.check()
        assert len(node.live) == 0
        assert remembered(node.queue) == 0
        await node.stop()

    scenario()
