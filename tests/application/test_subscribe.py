"""What a reader is told, and when: log first, then live; never twice, never after the end, never another's."""

from __future__ import annotations

import asyncio

import pytest

from tests.application.puppet import SETTLE_S, Puppet
from tests.application.reader import Reader
from tests.application.scripted_agent import echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, World
from unbroken.application.deliveries import ShowLogged, ShowReset, ShowText, ShowTool, ShowUser
from unbroken.domain.errors import AgentRaised, Fenced, NotYourThread, StoreUnavailable
from unbroken.domain.growing import MAX_PART_UNITS
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import SessionKey


@virtual
async def test_a_reader_that_keeps_up_gets_each_token_as_it_comes() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    async with reader.following():
        await node.say("hello")
        await asyncio.sleep(SETTLE_S)
        for word in ("one ", "two ", "three"):
            await puppet.say(word)
        await puppet.finish()
    kinds = [type(item) for item in reader.seen]
    assert kinds == [ShowUser, ShowReset, ShowText, ShowText, ShowText, ShowLogged]
    reader.close()
    assert len(node.live) == 0


@virtual
async def test_a_reader_at_rest_lets_text_gather_and_is_told_any_other_news_at_once() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    async with reader.following():
        await node.say("hello")
        await puppet.say("one ")
        reader.subscription.rest(60)
        await puppet.say("two ")
        await puppet.say("three ")
        reader.subscription.interrupt()
        await asyncio.sleep(SETTLE_S)
        assert reader.text == "one "
        await puppet.tool("call")
        assert reader.text == puppet.text
        reader.subscription.rest(60)
        await puppet.say("four")
        assert reader.text == "one two three "
        await puppet.finish()
    kinds = [type(item) for item in reader.seen]
    assert kinds == [ShowUser, ShowReset, ShowText, ShowText, ShowTool, ShowText, ShowLogged]
    reader.close()


@virtual
async def test_a_rest_ends_by_itself_and_another_reader_does_not_share_it() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    resting, other = Reader(await node.subscribe(KEY, cursor=0)), Reader(await node.subscribe(KEY, cursor=0))
    async with resting.following(), other.following():
        await node.say("hello")
        await puppet.say("one ")
        resting.subscription.rest(3 * SETTLE_S)
        await puppet.say("two ")
        assert (resting.text, other.text) == ("one ", "one two ")
        await asyncio.sleep(3 * SETTLE_S)
        assert resting.text == "one two "
        await puppet.say("three")
        assert resting.text == puppet.text
        await puppet.finish()
    resting.close()
    other.close()


@virtual
async def test_a_slow_reader_gets_one_larger_piece() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await node.say("hello")
    for number in range(200):
        await puppet.say(f"{number} ")
    found = await reader.take()
    assert [type(item) for item in found] == [ShowUser, ShowReset, ShowText]
    assert reader.text == puppet.text
    for _ in range(3):
        await puppet.say("x" * MAX_PART_UNITS)
    await reader.drain()
    assert reader.text == puppet.text
    assert all(len(item.part.text) <= MAX_PART_UNITS for item in reader.seen if isinstance(item, ShowText))
    await puppet.finish()
    reader.close()


@virtual
async def test_a_reader_that_lags_beyond_the_end_gets_only_the_end() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await node.say("hello")
    await puppet.say("half ")
    await reader.take()
    await puppet.say("and the rest")
    await puppet.finish()
    await node.ended()
    await reader.drain()
    assert [type(item) for item in reader.seen] == [ShowUser, ShowReset, ShowText, ShowLogged]
    assert reader.texts() == {"request-hello": "half "}
    reader.close()


@virtual
async def test_a_reader_that_is_to_be_given_all_is_given_the_rest_before_the_end() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0, whole=True))
    await node.say("hello")
    await puppet.say("one ")
    await reader.drain()
    text = "x" * (MAX_PART_UNITS * 3)
    await puppet.say(text)
    await puppet.tool("call")
    await puppet.finish()
    reader.seen.clear()
    await reader.drain()
    kinds = [type(item) for item in reader.seen]
    assert kinds == [*[ShowText] * (len(kinds) - 2), ShowTool, ShowLogged]
    assert "".join(item.part.text for item in reader.seen if isinstance(item, ShowText)) == text
    assert node.live.get(KEY) is not None
    reader.close()
    assert len(node.live) == 0


@virtual
async def test_a_reader_that_is_to_be_given_all_is_not_given_what_another_attempt_made_void() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0, whole=True))
    await node.say("hello")
    await puppet.say("one ")
    await reader.drain()
    await puppet.say("never said")
    await puppet.fail(retryable=True)
    await asyncio.sleep(5)
    await puppet.say("again")
    await puppet.finish()
    await reader.drain()
    assert "never said" not in "".join(item.part.text for item in reader.seen if isinstance(item, ShowText))
    reader.close()


@virtual
async def test_nothing_of_the_next_event_comes_before_the_log_of_the_last() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    for name in ("first", "second"):
        await node.say(name)
    await asyncio.sleep(SETTLE_S)
    await puppet.finish()
    await puppet.say("of the second")
    await reader.drain()
    kinds = [type(item) for item in reader.seen]
    assert kinds == [ShowUser, ShowLogged, ShowUser, ShowReset, ShowText]
    assert [item.reason for item in reader.seen if isinstance(item, ShowReset)] == ["started"]
    await puppet.finish()
    reader.close()


@virtual
async def test_a_retry_resets_the_text_under_a_higher_attempt_and_then_ends() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    async with reader.following():
        await node.say("hello")
        await puppet.say("half an ans")
        await puppet.fail(retryable=True)
        assert reader.text == "half an ans", "what was shown stays until the reset"
        await asyncio.sleep(1)
        await puppet.say("whole")
        late = Reader(await node.subscribe(KEY, cursor=0))
        async with late.following():
            await asyncio.sleep(SETTLE_S)
        await puppet.finish()
    resets = [(item.attempt, item.reason) for item in reader.seen if isinstance(item, ShowReset)]
    assert resets == [(1, "started"), (2, "retry")]
    assert reader.texts() == {"request-hello": "whole"}
    [reset] = [item for item in late.seen if isinstance(item, ShowReset)]
    assert (reset.reason, reset.voids) == ("resync", True), (
        "whoever saw the first attempt elsewhere has to let go of it"
    )
    late.close()
    reader.close()


@pytest.mark.parametrize("loss", [StoreUnavailable("away"), Fenced("late"), ZeroDivisionError()])
def test_the_text_of_a_lost_attempt_is_not_shown_to_whoever_comes_after_it(loss: Exception) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()

        async def lost_once(attempt: Attempt) -> str:
            if attempt.claim.tries == 1:
                attempt.text("m", "half")
                raise loss
            return await echo(attempt)

        node.agent.script = lost_once
        await node.say("hello")
        await asyncio.sleep(SETTLE_S)
        reader = Reader(await node.subscribe(KEY, cursor=0))
        await reader.drain()
        assert [type(item) for item in reader.seen] == [ShowUser]
        async with reader.following():
            await node.recover.once()
            await node.ended()
        assert reader.texts() == {"request-hello": "re: hello!"}
        reader.close()

    scenario()


@virtual
async def test_two_readers_see_the_same() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    readers = [Reader(await node.subscribe(KEY, cursor=0)) for _ in range(2)]
    async with readers[0].following(), readers[1].following():
        await node.say("hello")
        for word in ("one ", "two "):
            await puppet.say(word)
            await puppet.tool(word)
        await puppet.finish()
    assert readers[0].seen == readers[1].seen
    for reader in readers:
        reader.close()


@virtual
async def test_users_are_shown_on_every_connection_although_their_accepts_came_back_in_another_order() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    await node.say("first")
    reader = Reader(await node.subscribe(KEY, cursor=0))
    held = world.trouble.hold("accept", "after")
    second = asyncio.create_task(node.say("second"))
    await held.reached.wait()
    await node.say("third")
    await reader.drain()
    assert reader.users == ["request-first", "request-third"]
    held.release()
    await second
    await reader.drain()
    assert reader.users == ["request-first", "request-third", "request-second"]
    late = Reader(await node.subscribe(KEY, cursor=0))
    await late.drain()
    assert late.users == ["request-first", "request-second", "request-third"]
    async with reader.following(), late.following():
        for _ in range(3):
            await puppet.finish()
    for each in (reader, late):
        each.close()
    assert len(node.live) == 0


@virtual
async def test_a_reader_sees_what_waits_although_its_accept_overtook_the_one_that_began_the_session() -> None:
    world = World()
    node = await world.replica()
    held = world.trouble.hold("accept", "after")
    first = asyncio.create_task(node.say("first"))
    await held.reached.wait()
    await node.say("second")
    held.release()
    await first
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    assert reader.users == ["request-first", "request-second"]
    await node.ended()
    reader.close()


@virtual
async def test_a_stranger_gets_nothing_of_a_thread_that_came_to_be_somebody_else_s() -> None:
    world = World()
    node = await world.replica()
    stranger = SessionKey("eve", "demo", KEY.thread_id)
    reader = Reader(await node.subscribe(stranger, cursor=0))
    async with reader.following():
        await node.say("a secret")
        await node.ended()
        with pytest.raises(NotYourThread):
            await node.say("let me in", stranger)
        await node.queue.catch_up()
    assert reader.seen == []
    with pytest.raises(NotYourThread):
        await node.subscribe(stranger, cursor=0)
    reader.close()
    assert len(node.live) == 0


@virtual
async def test_a_thread_belongs_to_one_agent_too() -> None:
    world = World()
    node = await world.replica()
    await node.say("hello")
    await node.ended()
    with pytest.raises(NotYourThread):
        await node.subscribe(SessionKey("ann", "another", KEY.thread_id), cursor=0)


@virtual
async def test_interrupting_returns_at_once_and_once() -> None:
    world = World()
    node = await world.replica()
    reader = await node.subscribe(KEY, cursor=0)
    reader.interrupt()
    assert await reader.next() == []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await reader.next()
    reader.close()


@virtual
async def test_a_failure_is_shown_as_the_durable_end() -> None:
    world = World()
    node = await world.replica()

    async def fails(attempt: Attempt) -> str:
        attempt.text("m", "half")
        raise AgentRaised("no")

    node.agent.script = fails
    reader = Reader(await node.subscribe(KEY, cursor=0))
    async with reader.following():
        await node.say("hello")
        await node.ended()
    assert isinstance(reader.seen[-1], ShowLogged)
    assert reader.cursor == 1
    reader.close()
