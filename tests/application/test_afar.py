"""A session whose attempt runs at one replica, watched at others: the same text, whatever the bus does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.application.carrier import Carrier
from tests.application.puppet import Puppet
from tests.application.reader import Reader
from tests.application.scene import resets, scene, speaking, watching
from tests.application.virtual_time import virtual
from tests.application.world import KEY, LEASE_S, remembered, until
from unbroken.application.deliveries import ShowText
from unbroken.application.show_afar import LASTS_S, PAUSE_S
from unbroken.application.subscribe import Shown
from unbroken.domain.effects import SendMessage
from unbroken.domain.live_stream import MAX_UNITS

WORDS = ("one ", "two ", "drei, ", "четыре, ", "五, ", "🙂 ", "and so on. ")


@virtual
async def test_a_reader_at_another_replica_is_told_each_word_as_it_is_said() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        _, reader = await watching(stage)
        async with reader.following():
            await until(lambda: bool(resets(reader)))
            for word in WORDS:
                await puppet.say(word)
                assert reader.text == puppet.text
            await puppet.tool("call")
            assert reader.tools["call"].name == "search"
            await puppet.finish()
            await until(lambda: reader.cursor == 1)
        assert resets(reader) == [(1, "started")]
        assert reader.texts() == {"request-hello": "".join(WORDS)}
        assert sum(isinstance(item, ShowText) for item in reader.seen) == len(WORDS)
        reader.close()


@virtual
async def test_a_word_is_on_its_way_at_once_and_the_next_ones_go_together() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        _, reader = await watching(stage)
        async with reader.following():
            await until(lambda: bool(resets(reader)))
            await asyncio.sleep(1.5)
            loop, before = asyncio.get_running_loop(), stage.carrier.carried
            attempt = owner.live.get(KEY).attempt  # type: ignore[union-attr]
            assert attempt is not None
            began = loop.time()
            for number in range(40):
                attempt.stream.append("m", f"{number} ")
                owner.live.goes_on(KEY)
                await asyncio.sleep(0.001)
                if not number:
                    await until(lambda: reader.text == "0 ")
                    assert loop.time() - began < PAUSE_S, "the first word waits for nothing"
            await until(lambda: reader.text.endswith("39 "))
            assert 3 <= stage.carrier.carried - before <= 6
            await puppet.finish()
        reader.close()


@virtual
async def test_who_joins_in_mid_answer_gets_what_was_said_and_then_what_follows() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        await puppet.say("said before, ")
        await puppet.tool("early")
        _, reader = await watching(stage)
        async with reader.following():
            await until(lambda: reader.text == "said before, ")
            assert list(reader.tools) == ["early"]
            await puppet.say("said after")
            assert reader.text == "said before, said after"
            await puppet.finish()
            await until(lambda: reader.cursor == 1)
        assert resets(reader) in ([(1, "resync")], [(1, "started")])
        reader.close()


@virtual
async def test_a_client_that_comes_from_the_owner_goes_on_at_its_offset_without_a_reset() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        await puppet.say("said before, ")
        _, reader = await watching(stage, shown=Shown("request-hello", 1, 5), text="said ")
        async with reader.following():
            await until(lambda: reader.text == "said before, ")
            await puppet.say("said after")
            assert reader.text == "said before, said after"
            await puppet.finish()
        assert resets(reader) == []
        reader.close()


@pytest.mark.parametrize("lost", range(11))
def test_whatever_message_is_lost_what_was_said_arrives(lost: int) -> None:
    @virtual
    async def scenario() -> None:
        carrier = Carrier()
        carrier.loses = lost
        async with scene(carrier) as stage:
            _, puppet = await speaking(stage)
            _, reader = await watching(stage)
            async with reader.following():
                for word in WORDS:
                    await puppet.say(word)
                await puppet.tool("call")
                await until(lambda: reader.text == puppet.text and "call" in reader.tools, limit_s=3.0)
                await puppet.finish()
                await until(lambda: reader.cursor == 1)
            assert resets(reader)[0][0] == 1
            assert len(resets(reader)) == 1
            assert carrier.carried > lost, "nothing was lost"
            reader.close()

    scenario()


@virtual
async def test_a_gap_is_closed_as_soon_as_it_shows() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        _, reader = await watching(stage)
        async with reader.following():
            await until(lambda: bool(resets(reader)))
            for word in WORDS:
                stage.carrier.loses = stage.carrier.carried
                await puppet.say(word)
                stage.carrier.loses = None
                await puppet.say("seen. ")
                assert reader.text == puppet.text
            await puppet.finish()
            await until(lambda: reader.cursor == 1)
        reader.close()


@pytest.mark.parametrize("seed", range(40))
def test_a_bus_that_loses_doubles_delays_and_reorders_changes_no_text(seed: int) -> None:
    @virtual
    async def scenario() -> None:
        carrier = Carrier(seed, lost=0.3, doubled=0.4, delay_s=0.3)
        async with scene(carrier) as stage:
            _, puppet = await speaking(stage)
            readers = [(await watching(stage, name))[1] for name in ("b", "c")]
            async with readers[0].following(), readers[1].following():
                for number in range(30):
                    await puppet.say(f"{number}{WORDS[number % len(WORDS)]}")
                    if number % 7 == 0:
                        await puppet.tool(f"call-{number}")
                await until(lambda: all(reader.text == puppet.text for reader in readers), limit_s=60.0)
                assert all(list(reader.tools) == [f"call-{n}" for n in range(0, 30, 7)] for reader in readers)
                await puppet.finish()
                await until(lambda: all(reader.cursor == 1 for reader in readers))
            for reader in readers:
                assert len(resets(reader)) == 1
                reader.close()

    scenario()


@virtual
async def test_a_bus_that_was_cut_goes_on_where_it_was() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        _, reader = await watching(stage)
        async with reader.following():
            await puppet.say("before, ")
            await until(lambda: reader.text == "before, ")
            stage.carrier.cut = True
            await puppet.say("meanwhile, ")
            await asyncio.sleep(2 * LASTS_S)
            assert reader.text == "before, "
            assert len(stage.nodes[0].show_afar) == 0, "who is not heard of is not told anything"
            stage.carrier.cut = False
            await until(lambda: reader.text == "before, meanwhile, ", limit_s=2.0)
            await puppet.say("after")
            assert reader.text == "before, meanwhile, after"
            await puppet.finish()
        assert len(resets(reader)) == 1
        reader.close()


@pytest.mark.parametrize("word", ["x", "五", "🙂"])
def test_a_very_long_answer_arrives_in_messages_of_bounded_length(word: str) -> None:
    @virtual
    async def scenario() -> None:
        async with scene() as stage:
            _, puppet = await speaking(stage)
            _, reader = await watching(stage)
            width = 2 if word == "🙂" else 1
            async with reader.following():
                for _ in range(8):
                    await puppet.say(word * (MAX_UNITS // width // 16))
                await until(lambda: reader.text == puppet.text)
            _, late = await watching(stage, "late")
            async with late.following():
                await until(lambda: late.text == puppet.text)
                await puppet.finish()
                await until(lambda: late.cursor == 1)
            reader.close()
            late.close()

    scenario()


@virtual
async def test_each_follower_has_its_own_position_and_who_leaves_is_forgotten() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        first_node, first = await watching(stage, "first")
        async with first.following():
            await puppet.say("one ")
            await until(lambda: first.text == "one ")
            second_node, second = await watching(stage, "second")
            async with second.following():
                await until(lambda: second.text == "one ")
                await puppet.say("two ")
                assert first.text == second.text == "one two "
                assert len(owner.show_afar) == 2
        first.close()
        await until(lambda: len(owner.show_afar) == 1, limit_s=LASTS_S + 2)
        assert (len(first_node.live), len(first_node.follow_afar)) == (0, 0)
        async with second.following():
            await puppet.say("three")
            assert second.text == "one two three"
            await puppet.finish()
            await until(lambda: second.cursor == 1)
        second.close()
        await until(lambda: len(owner.show_afar) == 0, limit_s=LASTS_S + 2)
        await until(lambda: not len(owner.live) and not len(second_node.live), limit_s=5.0)
        assert remembered(owner.show_afar) == remembered(second_node.follow_afar) == 0


@virtual
async def test_nothing_follows_where_nobody_reads() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        node = await stage.node("other")
        stage.watches(node)
        await puppet.say("one ")
        await asyncio.sleep(3)
        live = owner.live.get(KEY)
        assert live is not None
        assert not live.readers
        assert len(node.live) == len(owner.show_afar) == 0
        await puppet.finish()


@virtual
async def test_one_who_comes_back_to_a_replica_that_had_forgotten_sees_it_all() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        node, reader = await watching(stage)
        async with reader.following():
            await puppet.say("one ")
            await until(lambda: reader.text == "one ")
        reader.close()
        again = Reader(await node.subscribe(KEY, cursor=0))  # before anything was forgotten
        async with again.following():
            await until(lambda: again.text == "one ")
        again.close()
        await until(lambda: not len(node.live), limit_s=3.0)
        last = Reader(await node.subscribe(KEY, cursor=0))
        async with last.following():
            await puppet.say("two")
            await until(lambda: last.text == "one two")
            await puppet.finish()
        last.close()


@virtual
async def test_the_next_turns_are_followed_too() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        _, reader = await watching(stage)
        await owner.say("second")
        async with reader.following():
            await puppet.say("one")
            await puppet.finish()
            await until(lambda: puppet.speaking)
            await puppet.say("two")
            await until(lambda: reader.text == "two", limit_s=3.0)
            await puppet.finish()
            await until(lambda: reader.cursor == 2)
        assert reader.texts() == {"request-hello": "one", "request-second": "two"}
        assert [attempt for attempt, _ in resets(reader)] == [1, 2]
        reader.close()


@virtual
async def test_a_session_that_moves_to_another_replica_is_followed_back() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        stage.watches(owner)
        reader = Reader(await owner.subscribe(KEY, cursor=0))
        async with reader.following():
            await puppet.say("one")
            await puppet.finish()
            other = await stage.node("other")
            elsewhere = Puppet(other)
            await other.say("next")
            await until(lambda: elsewhere.speaking)
            await elsewhere.say("two")
            await until(lambda: reader.text == "two", limit_s=3.0)
            await elsewhere.finish()
            await until(lambda: reader.cursor == 2)
        assert reader.texts() == {"request-hello": "one", "request-next": "two"}
        reader.close()


@virtual
async def test_what_a_dead_owner_said_stays_until_its_heir_s_attempt_begins() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        _, reader = await watching(stage)
        async with reader.following():
            await puppet.say("half an ")
            await until(lambda: reader.text == "half an ")
            await owner.dies()
            await asyncio.sleep(LEASE_S + 1)
            assert reader.text == "half an "
            heir = await stage.node("heir")
            speech = Puppet(heir)
            heir.queue.hint(KEY.thread_id)
            await until(lambda: speech.speaking)
            await speech.say("another answer")
            await until(lambda: reader.text == "another answer", limit_s=4.0)
            await speech.finish()
            await until(lambda: reader.cursor == 1)
        assert resets(reader) == [(1, "started"), (2, "takeover")]
        [entry] = reader.log
        assert isinstance(entry.body, SendMessage)
        assert entry.body.attempt == 2
        reader.close()


@virtual
async def test_the_mirror_gives_way_where_the_session_is_taken_over_here() -> None:
    async with scene() as stage:
        owner, puppet = await speaking(stage)
        node, reader = await watching(stage)
        speech = Puppet(node)
        async with reader.following():
            await puppet.say("half an ")
            await until(lambda: reader.text == "half an ")
            await owner.dies()
            await asyncio.sleep(LEASE_S + 1)
            await node.world.store.replicas.renew(node.id, lease_ttl_s=LEASE_S)
            node.queue.hint(KEY.thread_id)
            await until(lambda: speech.speaking)
            await speech.say("another answer")
            assert reader.text == "another answer"
            await speech.finish()
            await until(lambda: reader.cursor == 1)
        assert resets(reader) == [(1, "started"), (2, "takeover")]
        assert len(node.follow_afar) == 0
        reader.close()


@virtual
async def test_late_frames_of_a_stalled_owner_are_known_by_their_attempt() -> None:
    async with scene() as stage:
        _, puppet = await speaking(stage)
        late: list[Callable[[], None]] = []
        _, reader = await watching(stage)
        async with reader.following():
            await puppet.say("half an ")
            await until(lambda: reader.text == "half an ")
            carry = stage.world.hub.carry
            stage.world.hub.carry = late.append
            await puppet.say("answer that comes too late")
            stage.world.hub.carry = carry
            assert late
            await asyncio.sleep(LEASE_S + 1)
            heir = await stage.node("heir")
            speech = Puppet(heir)
            heir.queue.hint(KEY.thread_id)
            await until(lambda: speech.speaking)
            await speech.say("right")
            await until(lambda: reader.text == "right", limit_s=4.0)
            for deliver in late:
                deliver()
            await puppet.say("and more")
            await speech.say(" so")
            assert reader.text == "right so"
            await speech.finish()
            await until(lambda: reader.cursor == 1)
        assert [attempt for attempt, _ in resets(reader)] == [1, 2]
        reader.close()
