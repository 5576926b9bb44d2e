"""Readers that are told each part as it was shown, and of what ended a moment ago."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from tests.application.puppet import SETTLE_S, Puppet
from tests.application.reader import Reader
from tests.application.scripted_agent import echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World
from unbroken.application.deliveries import ShowGap, ShowLogged, ShowReset, ShowStep, ShowText, ShowUser
from unbroken.application.live_sessions import LiveAttempt
from unbroken.application.recent_attempts import KEPT_S, MAX_BYTES, MAX_COUNT, RecentAttempts
from unbroken.application.subscribe import PAGE, TAIL_CURSOR, TOO_FAR, EachPart
from unbroken.domain.events import Event, RunStart, UserMessage
from unbroken.domain.ports.agent import Attempt


async def start_run(node: Node, request_id: str = "run") -> None:
    await node.accept(KEY, request_id, RunStart(input={}, rich=True))


async def all_of(node: Node, shown: EachPart | None, cursor: int = 0) -> Reader:
    reader = Reader(await node.subscribe(KEY, cursor=cursor, shown=shown))
    await reader.drain()
    reader.close()
    return reader


@virtual
async def test_text_keeps_the_pieces_it_came_in() -> None:
    """A replay must be cut as the original was: its reader knows what it has by where it ends."""
    node = await World().replica()
    puppet = Puppet(node)
    await node.say("hello")
    for word in ("one ", "two ", "three"):
        await puppet.say(word)
    each, merged = await all_of(node, EachPart()), await all_of(node, None)
    assert [item.part.text for item in each.seen if isinstance(item, ShowText)] == ["one ", "two ", "three"]
    assert [item.part.text for item in merged.seen if isinstance(item, ShowText)] == ["one two three"]
    await puppet.finish()


@virtual
async def test_what_a_run_showed_is_told_a_while_after_its_end_and_then_its_log_alone() -> None:
    node = await World().replica()

    async def shows_much(attempt: Attempt) -> str:
        for n in range(2 * PAGE + 1):
            attempt.step("custom", (), b"%d" % n)
        return "done"

    node.agent.script = shows_much
    await start_run(node)
    await node.ended()
    told = await all_of(node, EachPart())
    kinds = [type(item) for item in told.seen]
    assert kinds == [ShowUser, ShowReset, *[ShowStep] * (2 * PAGE + 1), ShowText, ShowLogged]
    assert [item.part.data for item in told.seen if isinstance(item, ShowStep)] == [
        b"%d" % n for n in range(2 * PAGE + 1)
    ]
    assert [type(item) for item in (await all_of(node, None)).seen] == [ShowUser, ShowLogged]
    await asyncio.sleep(KEPT_S + 1)
    assert [type(item) for item in (await all_of(node, EachPart())).seen] == [ShowUser, ShowLogged]


@virtual
async def test_who_was_in_the_middle_when_the_run_ended_is_told_the_rest_and_nothing_twice() -> None:
    node = await World().replica()
    puppet = Puppet(node)
    await start_run(node)
    await puppet.step(b"1")
    reader = Reader(await node.subscribe(KEY, cursor=0, shown=EachPart()))
    await reader.take()
    await puppet.step(b"2")
    await puppet.finish()
    await asyncio.sleep(SETTLE_S)
    await reader.drain()
    reader.close()
    assert [item.part.data for item in reader.seen if isinstance(item, ShowStep)] == [b"1", b"2"]
    assert isinstance(reader.seen[-1], ShowLogged)


@virtual
async def test_a_reader_of_everything_who_has_not_looked_before_the_end_is_told_what_led_to_it() -> None:
    """It followed the run before it was accepted, and the run was faster than its first look."""
    node = await World().replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=TAIL_CURSOR, whole=True))
    await start_run(node)
    await puppet.step(b"1")
    await puppet.finish()
    await node.ended()
    await reader.drain()
    reader.close()
    assert [type(item) for item in reader.seen] == [ShowUser, ShowReset, ShowStep, ShowLogged]


@virtual
async def test_a_long_log_is_told_to_them_without_a_gap() -> None:
    node = await World().replica()
    node.agent.script = echo
    for n in range(TOO_FAR + 1):
        await node.say(f"{n}")
        await node.ended()
    assert any(isinstance(item, ShowGap) for item in (await all_of(node, None)).seen)
    each = await all_of(node, EachPart())
    assert [entry.log_index for entry in each.log] == list(range(1, TOO_FAR + 2))


def attempt(seq: int, *, rich: bool = True, data: bytes = b"1") -> LiveAttempt:
    body = RunStart(rich=True) if rich else UserMessage("hello")
    made = LiveAttempt(Event(seq, f"{seq}", f"{seq}", body, datetime.now(UTC)), seq, 0, "started")
    made.stream.step("custom", (), data)
    return made


@virtual
async def test_what_is_kept_is_bounded_in_number_and_bytes_and_the_oldest_goes_first() -> None:
    recent = RecentAttempts()
    recent.keep("t", attempt(1, rich=False))
    assert recent.get("t", 1) is None, "chat frames tell all of it"
    for seq in range(1, MAX_COUNT + 2):
        recent.keep("t", attempt(seq))
    assert recent.get("t", 1) is None
    assert recent.get("t", 2) is not None
    assert recent.get("other", 2) is None
    large = b'"%s"' % (b"x" * (MAX_BYTES // 5))
    for seq in range(6):
        recent.keep("large", attempt(seq, data=large))
    assert [recent.get("large", seq) is not None for seq in range(6)] == [False, False, True, True, True, True]
