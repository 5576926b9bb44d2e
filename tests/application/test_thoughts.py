"""What grows beside the text: told piece by piece to whoever keeps up, and in one piece to whoever does not."""

from __future__ import annotations

import msgspec
import pytest

from tests.application.puppet import Puppet
from tests.application.reader import Reader
from tests.application.scene import resets, scene, speaking, watching
from tests.application.scripted_agent import echo
from tests.application.virtual_time import virtual
from tests.application.world import KEY, World, until
from unbroken.application.deliveries import ShowStep, ShowText
from unbroken.application.subscribe import EachPart, Shown, Since
from unbroken.domain.effects import SendMessage
from unbroken.domain.ports.agent import Attempt


def thoughts(reader: Reader) -> list[str]:
    return [msgspec.json.decode(item.part.data or b"")["text"] for item in reader.seen if isinstance(item, ShowStep)]


def places(reader: Reader) -> list[tuple[int, int]]:
    """Where each part began and ended."""
    return [
        (begin, begin + (len(item.part.text) if isinstance(item, ShowText) else item.part.sides))
        for item in reader.seen
        if isinstance(item, ShowStep | ShowText)
        for begin in [item.part.offset + item.sides]
    ]


@virtual
async def test_who_keeps_up_is_told_each_piece_and_who_does_not_is_told_them_together() -> None:
    node = await World().replica()
    puppet = Puppet(node)
    keeping_up, lagging = Reader(await node.subscribe(KEY, cursor=0)), Reader(await node.subscribe(KEY, cursor=0))
    each = Reader(await node.subscribe(KEY, cursor=0, shown=EachPart()))
    async with keeping_up.following():
        await node.say("hello")
        for word in ("should ", "I ", "say "):
            await puppet.think(word)
        await lagging.drain()
        await each.drain()
        for word in ("it", "?"):
            await puppet.think(word)
        await puppet.say("Yes.")
        await puppet.think("really", "n")
        await lagging.drain()
        await each.drain()
    assert thoughts(keeping_up) == ["should ", "I ", "say ", "it", "?", "really"]
    assert thoughts(lagging) == thoughts(each) == ["should I say ", "it?", "really"]
    for reader in (keeping_up, lagging, each):
        ends = [0, *(end for _, end in places(reader))]
        assert [begin for begin, _ in places(reader)] == ends[:-1], "without gap or overlap"
        assert ends[-1] == len("should I say it?Yes.really")
        reader.close()
    await puppet.finish()


@pytest.mark.parametrize("position", range(13))
def test_who_comes_back_in_the_middle_of_a_thought_is_told_the_rest_and_what_it_grows_by(position: int) -> None:
    @virtual
    async def scenario() -> None:
        node = await World().replica()
        puppet = Puppet(node)
        await node.say("hello")
        for word in ("one ", "two ", "three"):
            await puppet.think(word)
        reader = Reader(await node.subscribe(KEY, cursor=0, shown=Since(1, position)))
        reader.running, reader.attempt = "request-hello", 1
        async with reader.following():
            await puppet.think(", four")
            await puppet.say("done")
            assert "".join(thoughts(reader)) == "one two three, four"[position:]
            assert reader.text == "done"
            assert places(reader)[0][0] == position
            await puppet.finish()
        reader.close()

    scenario()


@virtual
async def test_who_comes_back_with_text_of_a_turn_that_thinks_on_is_told_its_thoughts_once() -> None:
    node = await World().replica()
    puppet = Puppet(node)
    await node.say("hello")
    await puppet.say("Well, ")
    await puppet.think("one ")
    reader = Reader(
        await node.subscribe(KEY, cursor=0, shown=Shown("request-hello", 1, 2)), Shown("request-hello", 1, 2), "We"
    )
    async with reader.following():
        await puppet.think("two")
        assert "".join(thoughts(reader)) == "one two"
        assert reader.text == "Well, "
        await puppet.finish()
    reader.close()


@virtual
async def test_a_thought_is_read_at_another_replica_from_where_it_stands() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        await puppet.think("said before, ")
        _, reader = await watching(stage)
        async with reader.following():
            await until(lambda: thoughts(reader) == ["said before, "])
            for word in ("said ", "after"):
                await puppet.think(word)
            await puppet.say("done")
            await until(lambda: reader.text == "done")
            assert thoughts(reader) == ["said before, ", "said ", "after"]
            assert places(reader)[-1] == (len("said before, said after"), len("said before, said afterdone"))
            await puppet.finish()
            await until(lambda: reader.cursor == 1)
        assert len(resets(reader)) == 1
        reader.close()


@virtual
async def test_whoever_thinks_more_than_is_shown_answers_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbroken.domain.live_stream.MAX_GROWN_UNITS", 1_000)
    node = await World().replica()

    async def ponders(attempt: Attempt) -> str:
        for _ in range(1_000):
            attempt.step("reasoning", (), b'{"messageId":"m","text":"hm "}')
        return await echo(attempt)

    node.agent.script = ponders
    await node.say("hello")
    await node.ended()
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    reader.close()
    assert [type(entry.body) for entry in reader.log] == [SendMessage]
