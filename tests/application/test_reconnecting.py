"""Whoever comes back gets exactly what they lack, from wherever they stood (I8), compared with an oracle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.application.puppet import Puppet
from tests.application.reader import Reader
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World
from unbroken.application.deliveries import ShowReset, ShowStep, ShowText, ShowTool, ShowUser
from unbroken.application.subscribe import PAGE, Shown, Since
from unbroken.domain.utf16 import cut, units

CHUNKS = ["Grüße ", "👋", "", "from 𝔘𝔫", "broken\n", "…" * 40, "🏳️‍🌈!"]
TEXT = "".join(CHUNKS)


def prefix(text: str, offset: int) -> str:
    rest = cut(text, offset)
    return text[: len(text) - len(rest)]


async def in_mid_answer(node: Node, *, past: int) -> Puppet:
    for number in range(past):
        await node.say(f"past {number}")
        await node.ended()
    puppet = Puppet(node)
    await node.say("now")
    for chunk in CHUNKS:
        await puppet.say(chunk)
        await puppet.tool(f"call after {chunk}")
    await node.say("waiting")
    return puppet


@virtual
async def test_a_reconnect_at_every_cursor_and_offset_yields_exactly_the_suffix() -> None:
    world = World()
    node = await world.replica()
    puppet = await in_mid_answer(node, past=3)
    log = await world.log()
    for cursor in range(4):
        for offset in range(units(TEXT) + 1):
            shown = Shown("request-now", 4, offset)
            reader = Reader(await node.subscribe(KEY, cursor=cursor, shown=shown), shown, prefix(TEXT, offset))
            await reader.drain()
            assert reader.log == log[cursor:]
            assert reader.text == TEXT, offset
            assert not any(isinstance(item, ShowReset) for item in reader.seen)
            assert len(reader.tools) == len(CHUNKS)
            assert reader.users == [f"request-past {n}" for n in range(cursor, 3)] + ["request-now", "request-waiting"]
            reader.close()
    await puppet.finish()
    await puppet.finish()


@pytest.mark.parametrize(
    "shown",
    [
        None,
        Shown("request-now", 4, units(TEXT) + 1),
        Shown("request-now", 4, -1),
        Shown("request-now", 3, 2),
        Shown("request-past 0", 4, 2),
    ],
)
def test_a_view_of_anything_but_the_running_attempt_is_begun_anew(shown: Shown | None) -> None:
    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        puppet = await in_mid_answer(node, past=3)
        reader = Reader(await node.subscribe(KEY, cursor=3, shown=shown))
        await reader.drain()
        [reset] = [item for item in reader.seen if isinstance(item, ShowReset)]
        assert (reset.request_id, reset.attempt, reset.reason) == ("request-now", 4, "resync")
        assert reader.text == TEXT
        await puppet.finish()
        await puppet.finish()
        reader.close()

    scenario()


@virtual
async def test_an_attempt_that_a_client_has_seen_succeeded_elsewhere_is_not_shown_to_it() -> None:
    world = World()
    node = await world.replica()
    puppet = await in_mid_answer(node, past=3)
    reader = Reader(await node.subscribe(KEY, cursor=3, shown=Shown("request-now", 5, 2)))
    await reader.drain()
    assert not [item for item in reader.seen if isinstance(item, ShowReset | ShowText | ShowTool)]
    await puppet.finish()
    await puppet.finish()
    await reader.drain()
    assert [entry.event.request_id for entry in reader.log] == ["request-now", "request-waiting"]
    reader.close()


@virtual
async def test_what_a_client_showed_counts_only_for_the_attempt_that_runs_when_it_comes() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    await node.say("hello")
    await puppet.say("half an")
    await puppet.fail(retryable=True)
    shown = Shown("request-hello", 1, 4)
    reader = Reader(await node.subscribe(KEY, cursor=0, shown=shown), shown, "half")
    async with reader.following():
        await puppet.say("whole")
        await puppet.say("whole")
        await puppet.finish()
    assert reader.texts() == {"request-hello": puppet.text}
    reader.close()


async def replaying(node: Node) -> tuple[Puppet, Reader]:
    """An attempt of 300 tokens and tool steps, and a client that shows none of it but knows the attempt."""
    puppet = Puppet(node)
    await node.say("hello")
    for number in range(300):
        await puppet.say(f"{number} ")
        await puppet.tool(f"call-{number}")
    shown = Shown("request-hello", 1, 0)
    return puppet, Reader(await node.subscribe(KEY, cursor=0, shown=shown), shown)


@virtual
async def test_a_replay_comes_in_pages_without_waiting_for_news_and_its_text_in_one_piece() -> None:
    world = World()
    node = await world.replica(turn_limit_s=600)
    puppet, reader = await replaying(node)
    async with asyncio.timeout(1):
        while sum(isinstance(item, ShowTool) for item in reader.seen) < 300:
            assert len(await reader.take()) <= PAGE
    assert reader.text == puppet.text
    assert sum(isinstance(item, ShowText) for item in reader.seen) == 1
    await puppet.finish()
    reader.close()


@virtual
async def test_a_replay_is_broken_off_by_the_next_attempt() -> None:
    world = World()
    node = await world.replica(turn_limit_s=600)
    puppet, reader = await replaying(node)
    await reader.take()
    await puppet.fail(retryable=True)
    await asyncio.sleep(1)
    await puppet.say("anew")
    await reader.drain()
    assert (reader.attempt, reader.text) == (2, "anew")
    await puppet.finish()
    reader.close()


@dataclass
class Client:
    """What a client keeps over its connections, as the protocol has it."""

    reader: Reader
    log: list[int] = field(default_factory=list)

    async def reconnect(self, node: Node) -> None:
        await self.take_some()
        old = self.reader
        old.close()
        shown = Shown(old.running, old.attempt, units(old.text)) if old.running else None
        self.reader = Reader(await node.subscribe(KEY, cursor=old.cursor, shown=shown), shown, old.text)
        self.reader.attempt = old.attempt
        self.reader.running = old.running

    async def take_some(self) -> None:
        self.reader.subscription.interrupt()
        before = len(self.reader.log)
        await self.reader.take()
        self.log += [entry.log_index for entry in self.reader.log[before:]]


TURN_STEPS = st.one_of(
    st.sampled_from(["ask", "finish", "retry", "fail", "tool"]),
    st.text("ab👋\ud800\x00\n", max_size=6).map(lambda text: f"say {text}"),
)
CLIENT_STEPS = st.tuples(st.booleans(), st.integers(0, 2))
"""Whether it reconnects or only reads, and which client."""


async def turn_on(step: str, node: Node, puppet: Puppet, requests: Iterator[int]) -> None:
    if step == "ask":
        await node.say(str(next(requests)))
    elif not puppet.speaking:
        return
    elif step == "finish":
        await puppet.finish()
    elif step == "tool":
        await puppet.tool("call")
    elif step.startswith("say "):
        await puppet.say(step.removeprefix("say "))
    else:
        await puppet.fail(retryable=step == "retry")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(TURN_STEPS, CLIENT_STEPS), max_size=40))
def test_clients_that_come_and_go_and_lag_are_never_sent_what_they_may_not_be(
    steps: list[str | tuple[bool, int]],
) -> None:
    """The reader asserts each rule as it goes: order, users first, attempts never down, offsets without a hole."""

    @virtual
    async def scenario() -> None:
        world = World()
        node = await world.replica()
        puppet, requests = Puppet(node), count(1)
        clients = [Client(Reader(await node.subscribe(KEY, cursor=0))) for _ in range(3)]
        for step in steps:
            if isinstance(step, str):
                await turn_on(step, node, puppet, requests)
            elif step[0]:
                await clients[step[1]].reconnect(node)
            else:
                await clients[step[1]].take_some()
        live = node.live.get(KEY)
        for client in clients:
            for _ in range(len(steps) + 5):
                await client.take_some()
            assert client.log == [entry.log_index for entry in await world.log()]
            if live and live.attempt:
                assert client.reader.text == live.attempt.stream.text
            client.reader.close()
        await node.stop()

    scenario()


@virtual
async def test_tools_are_all_shown_again_to_whoever_reconnects() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    await node.say("hello")
    await puppet.tool("call-1")
    await puppet.say("some text")
    await puppet.tool("call-2")
    reader = Reader(await node.subscribe(KEY, cursor=0, shown=Shown("request-hello", 1, 4)))
    found = await reader.subscription.next()
    assert [item.part.text for item in found if isinstance(item, ShowText)] == [" text"]
    assert [item.part.tool_call_id for item in found if isinstance(item, ShowTool)] == ["call-1", "call-2"]
    assert not any(isinstance(item, ShowReset) for item in found)
    await puppet.finish()
    reader.close()


@virtual
async def test_who_was_given_everything_in_order_goes_on_at_the_very_place() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    whole = Reader(await node.subscribe(KEY, cursor=0))
    async with whole.following():
        await node.say("hello")
        await puppet.say("a\U0001f600b")
        await puppet.tool("call")
        await puppet.step(b'{"n": 1}')
        await puppet.say("cd")
        for position in range(9):
            again = await node.subscribe(KEY, cursor=0, shown=Since(1, position))
            found = [item for item in await again.next() if isinstance(item, ShowText | ShowTool | ShowStep)]
            again.close()
            places = [item.part.offset + item.sides for item in found]
            assert places == sorted(places)
            text = "".join(item.part.text for item in found if isinstance(item, ShowText))
            beside = [type(item) for item in found if not isinstance(item, ShowText)]
            assert ("a\U0001f600bcd".endswith(text), places[0] if places else 8) == (
                True,
                1 if position == 2 else position,
            )
            assert beside == [ShowTool, ShowStep][max(0, min(2, position - 4)) :]
        other = await node.subscribe(KEY, cursor=0, shown=Since(0, 3))
        assert [type(item) for item in await other.next()] == [
            ShowUser,
            ShowReset,
            ShowText,
            ShowTool,
            ShowStep,
            ShowText,
        ]
        other.close()
        await puppet.finish()
    whole.close()
