"""A replica whose lease is over, by its own clock, shows nothing more of what runs in it until the store has said that
it is its own still. What is durable goes on: the store decides that."""

from __future__ import annotations

import asyncio

from tests.application.puppet import Puppet
from tests.application.reader import Reader
from tests.application.scene import Scene, resets, scene, speaking, watching
from tests.application.virtual_time import virtual
from tests.application.world import KEY, LEASE_S, Node, until
from unbroken.application.own_clock import LATE_S
from unbroken.domain.session import SessionKey


async def thawing(stage: Scene) -> tuple[Node, Puppet, Reader]:
    """An owner with a reader of its own, and all that a serving replica does but its heartbeat."""
    owner, puppet = await speaking(stage)
    owner.poll()
    return owner, puppet, Reader(await owner.subscribe(KEY, cursor=0))


async def renewed(stage: Scene, node: Node) -> None:
    await stage.world.store.replicas.renew(node.id, lease_ttl_s=LEASE_S)
    node.lease.regain()


async def taken_over(stage: Scene, owner: Node) -> Puppet:
    """Another replica takes the session of an owner whose lease the store holds for over."""
    await stage.world.store.replicas.renew(owner.id, lease_ttl_s=0)
    heir = await stage.node("heir")
    speech = Puppet(heir)
    heir.queue.hint(KEY.thread_id)
    await until(lambda: speech.speaking)
    return speech


@virtual
async def test_nothing_is_shown_after_the_lease_and_all_of_it_once_it_is_renewed() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        _, afar = await watching(stage)
        async with reader.following(), afar.following():
            await puppet.say("held, ")
            await until(lambda: reader.text == afar.text == "held, ")
            owner.lease.lapse()
            await puppet.say("over, ")
            await puppet.tool("call")
            await asyncio.sleep(5)
            assert reader.text == afar.text == "held, "
            assert not reader.tools
            assert not afar.tools
            await renewed(stage, owner)
            await until(lambda: reader.text == afar.text == "held, over, ", limit_s=2.0)
            await puppet.say("and held")
            await until(lambda: reader.text == afar.text == "held, over, and held")
            await puppet.finish()
            await until(lambda: reader.cursor == afar.cursor == 1)
        assert resets(reader) == resets(afar) == [(1, "started")]
        assert owner.agent.runs[-1].tries == 1, "an outage alone costs no try"
        reader.close()
        afar.close()


@virtual
async def test_who_joins_after_the_lease_sees_nothing_live() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        await puppet.say("said")
        owner.lease.lapse()
        async with reader.following():
            await asyncio.sleep(1)
            assert resets(reader) == []
            assert reader.users == ["request-hello"], "what is durable is shown"
            await renewed(stage, owner)
            await until(lambda: reader.text == "said")
            await puppet.finish()
        reader.close()


@virtual
async def test_an_attempt_that_was_taken_over_meanwhile_is_never_shown_again() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        async with reader.following():
            await puppet.say("half an ")
            await until(lambda: reader.text == "half an ")
            owner.lease.lapse()
            speech = await taken_over(stage, owner)
            await puppet.say("answer that is late")
            await renewed(stage, owner)
            await until(lambda: not puppet.speaking, limit_s=2.0)
            await speech.say("another one")
            await until(lambda: reader.text == "another one", limit_s=5.0)
            await speech.finish()
            await until(lambda: reader.cursor == 1)
        assert resets(reader) == [(1, "started"), (2, "takeover")]
        reader.close()


@virtual
async def test_an_attempt_in_doubt_is_shown_to_nobody_until_the_store_answers() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        async with reader.following():
            await puppet.say("held, ")
            await until(lambda: reader.text == "held, ")
            owner.lease.lapse()
            await puppet.say("over")
            for _ in range(3):
                stage.world.trouble.refuse("standing")
            held = stage.world.trouble.hold("standing", "after")
            await renewed(stage, owner)
            await held.reached.wait()
            await asyncio.sleep(1)
            assert reader.text == "held, "
            held.release()
            await until(lambda: reader.text == "held, over", limit_s=1.0)
            await puppet.finish()
        reader.close()


@virtual
async def test_an_answer_from_before_the_latest_lapse_settles_nothing() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        async with reader.following():
            await puppet.say("held, ")
            await until(lambda: reader.text == "held, ")
            owner.lease.lapse()
            await puppet.say("over")
            held = stage.world.trouble.hold("standing", "after")
            await renewed(stage, owner)
            await held.reached.wait()
            owner.lease.lapse()
            speech = await taken_over(stage, owner)
            again = stage.world.trouble.hold("standing", "after")
            await renewed(stage, owner)
            held.release()
            await again.reached.wait()
            await asyncio.sleep(0.5)
            assert "over" not in reader.text
            again.release()
            await until(lambda: not puppet.speaking, limit_s=2.0)
            await speech.say("another one")
            await until(lambda: reader.text == "another one", limit_s=5.0)
            await speech.finish()
        reader.close()


@virtual
async def test_a_claim_that_waited_through_the_lapse_is_not_shown_if_it_was_taken_over() -> None:
    async with scene() as stage:
        owner = await stage.world.replica("owner", slots=1)
        stage.nodes.append(owner)
        busy = Puppet(owner, SessionKey("ann", "demo", "busy"))
        await owner.say("busy", SessionKey("ann", "demo", "busy"))
        await until(lambda: busy.speaking)
        owner.poll()
        await owner.say("hello")
        reader = Reader(await owner.subscribe(KEY, cursor=0))
        async with reader.following():
            await asyncio.sleep(0.5)
            owner.lease.lapse()
            speech = await taken_over(stage, owner)
            await renewed(stage, owner)
            await asyncio.sleep(0.5)
            await busy.finish()  # its slot is free now
            await busy.say("the puppet speaks for the session that was taken over")
            assert resets(reader) in ([], [(2, "takeover")])
            await speech.say("right")
            await speech.finish()
            await until(lambda: reader.cursor == 1)
        assert all(attempt == 2 for attempt, _ in resets(reader))
        reader.close()
        await owner.stop()
        stage.nodes.remove(owner)


@virtual
async def test_what_is_durable_goes_on_without_a_lease() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        owner.lease.lapse()
        async with reader.following():
            await puppet.say("answer")
            await owner.say("next")
            await until(lambda: "request-next" in reader.users)
            await puppet.finish()
            await until(lambda: reader.cursor == 1)
            assert reader.text == ""
            await until(lambda: puppet.speaking)
            await puppet.finish()
            await until(lambda: reader.cursor == 2)
        assert await stage.world.ends() == ["answer", ""]
        reader.close()


@virtual
async def test_what_begins_soon_after_a_lapse_waits_for_one_answer_and_later_for_nobody() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        owner.lease.lapse()
        held = stage.world.trouble.hold("standing", "before")
        await renewed(stage, owner)
        await held.reached.wait()
        async with reader.following():
            await puppet.say("first")
            await owner.say("second")
            await puppet.finish()
            await until(lambda: puppet.speaking)
            await puppet.say("second")
            await asyncio.sleep(1)
            assert reader.text == "", "it may have been counted before the lapse"
            held.release()
            await until(lambda: reader.text == "second")
            await puppet.finish()
            await until(lambda: reader.cursor == 2)
            await asyncio.sleep(LATE_S)
            held = stage.world.trouble.hold("standing", "before")
            await owner.say("third")
            await until(lambda: puppet.speaking)
            await puppet.say("third")
            await until(lambda: reader.text == "third")
            assert not held.reached.is_set()
            await puppet.finish()
            await until(lambda: reader.cursor == 3)
        assert not owner.live.doubted
        reader.close()


@virtual
async def test_an_answer_from_before_an_attempt_was_counted_does_not_fence_it() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        await puppet.finish()
        owner.lease.lapse()
        held = stage.world.trouble.hold("standing", "after")
        await renewed(stage, owner)
        await held.reached.wait()
        async with reader.following():
            await owner.say("second")
            await until(lambda: puppet.speaking)
            held.release()
            await puppet.say("second")
            await until(lambda: reader.text == "second")
            await puppet.finish()
            await until(lambda: reader.cursor == 2)
        assert owner.agent.runs[-1].tries == 1
        reader.close()


@virtual
async def test_the_end_of_a_fenced_attempt_leaves_its_heir_s_mirror_alone() -> None:
    async with scene() as stage:
        owner, puppet, reader = await thawing(stage)
        async with reader.following():
            await puppet.say("half an ")
            await until(lambda: reader.text == "half an ")
            speech = await taken_over(stage, owner)
            await speech.say("another ")
            await until(lambda: reader.text == "another ", limit_s=3.0)
            await puppet.finish()
            await until(lambda: not puppet.speaking)
            await speech.say("one")
            await until(lambda: reader.text == "another one", limit_s=3.0)
            await speech.finish()
            await until(lambda: reader.cursor == 1)
        assert resets(reader) == [(1, "started"), (2, "takeover")]
        reader.close()


@virtual
async def test_a_claim_that_is_known_to_be_taken_over_is_not_begun() -> None:
    async with scene() as stage:
        other = SessionKey("ann", "demo", "busy")
        owner = await stage.world.replica("owner", slots=1)
        stage.nodes.append(owner)
        busy = Puppet(owner, other)
        await owner.say("busy", other)
        await until(lambda: busy.speaking)
        await owner.say("hello")
        reader = Reader(await owner.subscribe(KEY, cursor=0))
        async with reader.following():
            speech = await taken_over(stage, owner)
            await speech.say("right")
            await until(lambda: reader.text == "right", limit_s=3.0)
            await busy.finish()  # its slot is free now
            await asyncio.sleep(1)
            assert [claim.key for claim in owner.agent.runs] == [other]
            await speech.finish()
            await until(lambda: reader.cursor == 1)
        assert resets(reader) == [(2, "takeover")]
        reader.close()
