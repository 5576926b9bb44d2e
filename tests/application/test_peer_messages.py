"""What comes over the bus counts only where the store says the same, and is bounded (I11, I12)."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest
from msgspec import structs

from tests.application.reader import Reader
from tests.application.scene import resets, scene, speaking, watching
from tests.application.virtual_time import virtual
from tests.application.world import KEY, until
from unbroken.application.peer_messages import Feed, Want, decoded, encoded
from unbroken.application.show_afar import LASTS_S, MOST_FOLLOWERS
from unbroken.application.subscribe import Shown
from unbroken.domain.errors import NotYourThread
from unbroken.domain.growing import MAX_PART_UNITS
from unbroken.domain.live_stream import MAX_UNITS
from unbroken.domain.session import SessionKey
from unbroken.domain.stream_parts import TextPart, ToolPart


@virtual
async def test_a_replica_asked_for_a_session_under_another_key_gives_nothing() -> None:
    async with scene() as stage:
        stranger = SessionKey("eve", "demo", KEY.thread_id)
        node = await stage.node("other")
        stage.watches(node)
        eve = Reader(await node.subscribe(stranger, cursor=0))  # nobody's thread as yet
        owner, puppet = await speaking(stage)
        await puppet.say("secret")
        async with eve.following():
            before = stage.carrier.carried
            for key in (stranger, SessionKey("ann", "other", KEY.thread_id)):
                owner.wakeups.take(encoded(Want(key, node.id, 1, 0, True)))
            await asyncio.sleep(5)
            assert stage.carrier.carried == before, "nothing was sent to anybody"
            assert len(owner.show_afar) == len(node.follow_afar) == 0
            assert eve.seen == []
        with pytest.raises(NotYourThread):
            await node.subscribe(stranger, cursor=0)
        await puppet.finish()
        eve.close()


FORGERIES: dict[str, dict[str, object]] = {
    "an earlier attempt": {"run": 0},
    "an attempt that nobody has counted": {"run": 2},
    "an attempt beyond all numbers": {"run": (1 << 62) - 1},
    "an event that has ended": {"seq": 0},
    "an event that was not accepted": {"seq": 2},
    "a log that is longer": {"log_index": 1},
    "somebody who is not the owner": {"replica": 99},
    "another user's session": {"key": SessionKey("eve", "demo", KEY.thread_id)},
    "a gap": {"position": 7, "until": 8},
    "what is there already": {"position": 0},
    "more parts than positions": {"until": 1},
    "a hole in the text": {"parts": (TextPart(9, "lie", "m"),)},
    "text over the text": {"parts": (TextPart(0, "lie", "m"),)},
    "no text": {"parts": (TextPart(4, "", "m"),)},
    "a zero character": {"parts": (TextPart(4, "lie\x00", "m"),)},
    "a part too long": {"parts": (TextPart(4, "x" * (MAX_PART_UNITS + 1), "m"),)},
    "a text too long": {"parts": tuple(TextPart(4 + n * 4096, "x" * 4096, "m") for n in range(300)), "until": 301},
    "a tool out of place": {"parts": (ToolPart(3, "lie", "search", "started"),)},
    "tools without end": {"parts": (ToolPart(4, "lie", "search", "started"),) * 1_001, "until": 1_002},
}


@pytest.mark.parametrize("what", FORGERIES)
def test_what_does_not_fit_what_the_store_says_is_not_shown(what: str) -> None:
    @virtual
    async def scenario() -> None:
        async with scene() as stage:
            owner, puppet = await speaking(stage)
            node, reader = await watching(stage)
            async with reader.following():
                await puppet.say("true")
                await until(lambda: reader.text == "true")
                honest = Feed(KEY, owner.id, 1, 1, 0, "started", 1, 2, (TextPart(4, "lie", "m"),))
                node.wakeups.take(encoded(structs.replace(honest, **FORGERIES[what])))
                await asyncio.sleep(0.5)
                assert (reader.text, list(reader.tools)) == ("true", [])
                await puppet.say(" words")
                await until(lambda: reader.text == "true words", limit_s=2.0)
                await puppet.finish()
                await until(lambda: reader.cursor == 1)
            assert len(resets(reader)) == 1
            assert "lie" not in str(reader.seen)
            reader.close()

    scenario()


HONEST = encoded(Feed(KEY, 1, 1, 1, 0, "started", 0, 1, (TextPart(0, "word", "m"),)))


def test_what_is_no_message_of_ours_is_dropped() -> None:
    assert isinstance(decoded(HONEST), Feed)
    plain = msgspec.msgpack.decode(HONEST)
    broken = [HONEST[:length] for length in range(len(HONEST))] + [HONEST + b"\x00", b"\xc1", b"\x91" * 100_000]
    wrong: list[tuple[int, object]] = [(0, "else"), (1, {"user_id": "", "agent_id": "a", "thread_id": "t"}), (1, "key")]
    wrong += [(2, -1), (3, 1 << 63), (4, "1"), (5, 1.0), (6, "because"), (7, None), (9, [["text", -1]]), (9, [["x"]])]
    for place, bad in wrong:
        broken.append(msgspec.msgpack.encode([*plain[:place], bad, *plain[place + 1 :]]))
    broken.append(encoded(Feed(KEY, 1, 1, 1, 0, "started", 0, 40, (TextPart(0, "x" * 8_000, "m"),) * 40)))
    assert [message for message in broken if decoded(message) is not None] == []


@pytest.mark.parametrize("seed", range(5))
def test_bytes_that_somebody_changed_do_no_harm(seed: int) -> None:
    @virtual
    async def scenario() -> None:
        random = Random(seed)
        async with scene() as stage:
            owner, puppet = await speaking(stage)
            node, reader = await watching(stage)
            async with reader.following():
                await puppet.say("true")
                await until(lambda: reader.text == "true")
                honest = [
                    encoded(Feed(KEY, owner.id, 1, 1, 0, "started", 9, 10, (TextPart(4, "lie", "m"),))),
                    encoded(Want(KEY, node.id, 1, 1, False)),
                ]
                for _ in range(400):
                    changed = bytearray(random.choice(honest))
                    for _ in range(random.randint(1, 3)):
                        changed[random.randrange(len(changed))] = random.randrange(256)
                    random.choice([owner, node]).wakeups.take(bytes(changed))
                await asyncio.sleep(1.5)
                await puppet.say(" words")
                await until(lambda: reader.text == "true words", limit_s=3.0)
                await puppet.finish()
                await until(lambda: reader.cursor == 1)
            reader.close()

    scenario()


@virtual
async def test_wants_of_replicas_that_do_not_exist_are_bounded() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        for replica in range(1_000, 1_000 + 3 * MOST_FOLLOWERS):
            owner.wakeups.take(encoded(Want(KEY, replica, 1, 0, True)))
        assert len(owner.show_afar) == MOST_FOLLOWERS
        await asyncio.sleep(LASTS_S + 1)
        assert len(owner.show_afar) == 0
        await puppet.finish()


@virtual
async def test_a_store_that_is_away_is_not_asked_for_each_message() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        node, reader = await watching(stage)
        async with reader.following():
            await until(lambda: bool(resets(reader)))
            before = stage.world.trouble.calls.count("view")
            for position in range(500):
                node.wakeups.take(encoded(Feed(KEY, owner.id, 7, 1, 0, "started", position, position, ())))
                await asyncio.sleep(0.002)
            assert stage.world.trouble.calls.count("view") - before < 20
            await puppet.finish()
            await until(lambda: reader.cursor == 1)
        reader.close()


@virtual
async def test_who_only_watches_a_session_has_no_followers_itself() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        node, reader = await watching(stage)
        async with reader.following():
            await puppet.say("said")
            await until(lambda: reader.text == "said")
            for asked in (node, owner):
                asked.wakeups.take(encoded(Want(KEY, owner.id, 1, 0, True)))
            assert len(node.show_afar) == 0
            assert len(owner.show_afar) == 1, "nor does it follow itself"
            await puppet.finish()
            await until(lambda: reader.cursor == 1)
        owner.wakeups.take(encoded(Want(KEY, 99, 1, 0, True)))
        assert len(owner.show_afar) == 1, "nothing is unfinished"
        reader.close()


@virtual
async def test_who_shows_more_than_one_message_holds_is_told_to_begin_anew() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        await puppet.say("x" * (MAX_UNITS // 2))
        far = MAX_UNITS // 2 - 10
        _, reader = await watching(stage, shown=Shown("request-hello", 1, far), text="x" * far)
        async with reader.following():
            await until(lambda: reader.text == puppet.text and bool(resets(reader)))
            await puppet.finish()
            await until(lambda: reader.cursor == 1)
        assert resets(reader) == [(1, "resync")]
        reader.close()
