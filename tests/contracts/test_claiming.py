"""Sessions: at most one live claim, every attempt counted before it runs (I14)."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import PLENTY, Conversation, replica_of, unique
from tests.contracts.subjects import Subject
from unbroken.domain.errors import Fenced
from unbroken.domain.events import TimerFired, UserMessage, WhenBusy
from unbroken.domain.session import Claim, Position, SessionKey

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def abandoned(store: Subject) -> Conversation:
    """A session with one running and one waiting event, whose owner has died."""
    talk = await Conversation.begin(store)
    await talk.accept()
    await talk.accept()
    await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
    return talk


async def test_one_of_twenty_racing_claimers_wins(store: Subject) -> None:
    for _ in range(5):
        talk = await abandoned(store)
        racers = [await replica_of(store) for _ in range(20)]
        claims = [claim for claim in await asyncio.gather(*map(talk.claim, racers)) if claim]
        assert len(claims) == 1
        assert (claims[0].event.seq, claims[0].tries) == (1, 2)
        assert claims[0].owner in {racer.id for racer in racers}


async def test_a_claim_counts_the_attempt_and_fences_the_former_owner(store: Subject) -> None:
    talk = await abandoned(store)
    old = (await talk.view()).run
    heir = await replica_of(store)
    claim = await talk.claim(heir)
    assert claim is not None
    assert (claim.owner, claim.run, claim.tries, claim.epoch, claim.taken_over) == (heir.id, old + 1, 2, 2, True)
    assert (await talk.view()).run == claim.run


async def test_the_session_of_a_live_owner_cannot_be_claimed(store: Subject) -> None:
    talk, other = await Conversation.begin(store), await replica_of(store)
    held = await talk.accepted()
    assert await talk.claim(other) is None
    assert not await talk.is_stray_for(other)
    await talk.finish(held)


async def test_a_replica_that_claims_from_itself_fences_what_it_lost_sight_of(store: Subject) -> None:
    talk = await Conversation.begin(store)
    lost = await talk.accepted()
    again = await talk.claim()
    assert again is not None
    assert (again.event, again.run, again.tries, again.taken_over) == (lost.event, lost.run + 1, 2, False)
    assert again.epoch > lost.epoch
    with pytest.raises(Fenced):
        await talk.finish(lost)
    await talk.finish(again)


async def test_a_replica_that_is_not_alive_itself_takes_over_from_nobody(store: Subject) -> None:
    talk, heir = await abandoned(store), await replica_of(store)
    await store.replicas.renew(heir.id, lease_ttl_s=0)
    assert await talk.claim(heir) is None
    assert not await talk.is_stray_for(heir)
    own = await talk.claim()
    assert own is not None
    assert own.tries == 2
    await store.replicas.renew(heir.id, lease_ttl_s=60)
    assert await talk.is_stray_for(heir)
    assert await talk.claim(heir) is not None


async def test_an_accept_of_a_replica_that_is_not_alive_claims_only_what_it_owns(store: Subject) -> None:
    talk, late = await Conversation.begin(store), await replica_of(store)
    await store.replicas.renew(late.id, lease_ttl_s=0)
    receipt = await talk.accept(replica=late)
    assert receipt.claim is None
    assert not await talk.is_stray_for(late)
    assert await talk.is_stray_for(talk.replica)
    claim = await talk.claim()
    assert claim is not None
    assert (claim.event, claim.run, claim.tries, claim.epoch, claim.taken_over) == (receipt.event, 1, 1, 1, False)
    await talk.finish(claim)
    assert (await talk.accept(replica=late, when_busy=WhenBusy.REJECT)).claim is None  # idle, for all that
    again = await talk.claim()
    assert again is not None
    assert (again.run, again.tries) == (2, 1)
    await talk.finish(again)
    await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
    own = (await talk.accept()).claim
    assert own is not None
    assert (own.run, own.tries, own.epoch) == (3, 1, again.epoch)


async def test_nothing_can_be_claimed_where_nothing_waits(store: Subject) -> None:
    talk = await Conversation.begin(store)
    assert await talk.claim() is None
    await talk.finish(await talk.accepted())
    assert await talk.claim() is None
    assert not await talk.is_stray_for(talk.replica)


async def test_tries_count_one_event_and_runs_count_the_thread(store: Subject) -> None:
    talk = await abandoned(store)
    seen = []
    claim = await talk.claim()
    for _ in range(2):
        assert claim is not None
        seen.append((claim.event.seq, claim.tries, claim.run))
        claim = await talk.claim()
    assert claim is not None
    seen.append((claim.event.seq, claim.tries, claim.run))
    following = (await talk.finish(claim)).next
    assert following is not None
    seen.append((following.event.seq, following.tries, following.run))
    assert seen == [(1, 2, 2), (1, 3, 3), (1, 4, 4), (2, 1, 5)]


async def test_sessions_of_a_dead_owner_are_strays_for_everyone(store: Subject) -> None:
    talk = await abandoned(store)
    assert await talk.is_stray_for(await replica_of(store))
    assert await talk.is_stray_for(talk.replica)
    await store.replicas.renew(talk.replica.id, lease_ttl_s=60)
    assert not await talk.is_stray_for(await replica_of(store))
    assert await talk.is_stray_for(talk.replica)


async def test_a_replica_that_leaves_makes_its_sessions_strays_at_once(store: Subject) -> None:
    talk, other = await Conversation.begin(store), await replica_of(store)
    await talk.accept()
    await store.replicas.leave(talk.replica.id)
    assert await talk.is_stray_for(other)
    assert await talk.claim(other) is not None


async def test_a_thread_is_behind_for_whoever_knows_less_of_it(store: Subject) -> None:
    talk = await Conversation.begin(store)
    nothing, accepted, ended = Position(0, 0, 0, 0), Position(0, 0, 1, 1), Position(1, 1, 1, 1)

    async def behind(known: Position) -> bool:
        others = {"no-such-thread": nothing, talk.thread_id: known}
        return await store.sessions.behind(others) == [talk.thread_id]

    assert await store.sessions.behind({}) == []
    assert not await behind(nothing)
    claim = await talk.accepted()
    assert await behind(nothing)
    assert not await behind(accepted)
    assert await behind(Position(0, 0, 1, 0))  # an attempt that nobody here has heard of
    await talk.finish(claim)
    assert await behind(accepted)
    assert await behind(Position(1, 0, 1, 1))  # an end that no client sees
    assert not await behind(ended)
    await store.threads.delete(claim.key.user_id, talk.thread_id)
    assert not await behind(nothing)


async def test_a_replica_is_alone_unless_another_may_still_write(store: Subject) -> None:
    first = await replica_of(store)
    alone = await store.sessions.alone(replica=first.id)
    assert alone is not None
    assert await store.sessions.alone(replica=first.id) == alone
    other = await replica_of(store)
    assert await store.sessions.alone(replica=first.id) is None
    await store.replicas.renew(other.id, lease_ttl_s=0)
    assert await store.sessions.alone(replica=first.id) is None, "the end of a lease fences nothing"
    await store.replicas.leave(other.id)
    since = await store.sessions.alone(replica=first.id)
    assert since not in (None, alone), "another one came and left meanwhile"
    again = await replica_of(store, first.name)
    assert await store.sessions.alone(replica=first.id) is None, "a later boot has taken its place"
    assert await store.sessions.alone(replica=again.id) not in (None, since)


async def test_a_snapshot_tells_for_whom_the_latest_attempt_was_counted(store: Subject) -> None:
    talk = await abandoned(store)
    assert (await talk.view()).owner == talk.replica.id
    heir = await replica_of(store)
    claim = await talk.claim(heir)
    assert claim is not None
    assert ((await talk.view()).run, (await talk.view()).owner) == (claim.run, heir.id)


async def test_an_attempt_stands_until_it_ends_or_another_one_is_counted(store: Subject) -> None:
    talk, idle, gone = [await Conversation.begin(store) for _ in range(3)]
    other = await replica_of(store)

    async def standing(replica: int) -> dict[str, int]:
        return dict(await store.sessions.standing(replica=replica))

    assert await standing(talk.replica.id) == {}
    claim = await talk.accepted()
    await idle.finish(await idle.accepted())
    deleted = await gone.accepted()
    await store.threads.delete(deleted.key.user_id, gone.thread_id)
    assert await standing(talk.replica.id) == {talk.thread_id: claim.run}
    assert await standing(idle.replica.id) == await standing(gone.replica.id) == await standing(other.id) == {}
    again = await talk.claim()
    assert again is not None
    assert await standing(talk.replica.id) == {talk.thread_id: again.run}
    await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
    assert await standing(talk.replica.id) == {talk.thread_id: again.run}, "whoever may take over has not done so yet"
    taken = await talk.claim(other)
    assert taken is not None
    assert (await standing(talk.replica.id), await standing(other.id)) == ({}, {talk.thread_id: taken.run})
    await talk.finish(taken)
    assert await standing(other.id) == {}


async def test_strays_are_limited(store: Subject) -> None:
    replica = await replica_of(store)
    for _ in range(4):
        await Conversation(store, replica).accept()
    assert len((await store.sessions.strays(replica=replica.id, limit=3)).threads) == 3


async def test_a_session_ceases_to_be_a_stray_when_its_last_event_ends(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim: Claim | None = await talk.accepted()
    for _ in range(3):
        await talk.accept()
    for seq in (1, 2, 3, 4):
        assert await talk.is_stray_for(talk.replica)
        assert claim is not None
        assert claim.event.seq == seq
        claim = (await talk.finish(claim)).next
    assert claim is None
    assert not await talk.is_stray_for(talk.replica)


async def test_a_claim_says_whether_a_users_message_came_after_the_event(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    await store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e", after_s=0, payload=None)
    fired = await talk.accepted(talk.new(TimerFired("t", 1)))
    assert not fired.superseded
    await talk.accept(talk.new(UserMessage("wait")))
    again = await talk.claim()
    assert again is not None
    assert again.superseded
    following = (await talk.finish(again)).next
    assert following is not None
    assert not following.superseded


async def test_a_view_is_one_snapshot_of_the_session(store: Subject) -> None:
    talk = await Conversation.begin(store)
    assert await store.sessions.view(talk.thread_id) is None
    claim = await talk.accepted()
    await talk.accept()
    view = await talk.view()
    assert (view.key, view.log_index, view.log_floor, view.acked, view.applied_seq) == (talk.key, 0, 0, 0, 0)
    assert [event.seq for event in view.pending] == [1, 2]
    await talk.finish(claim)
    view = await talk.view()
    assert (view.log_index, view.applied_seq, view.run) == (1, 1, 2)
    assert [event.seq for event in view.pending] == [2]


async def test_keys_come_back_whatever_characters_they_hold(store: Subject) -> None:
    replica = await replica_of(store)
    key = SessionKey("a:b%3A", "agent:é/😀", unique("t:%"))
    talk = Conversation(store, replica, key)
    claim = await talk.accepted()
    assert claim.key == (await talk.view()).key == key
    assert key.thread_id in (await store.sessions.strays(replica=replica.id, limit=PLENTY)).threads


async def test_each_of_the_living_finds_another_share_of_what_was_left(store: Subject) -> None:
    dead, *living = [await replica_of(store) for _ in range(4)]
    talks = [Conversation(store, dead) for _ in range(40)]
    for talk in talks:
        await talk.accept()
    own = Conversation(store, living[0])
    await own.accept()
    await store.replicas.leave(dead.id)
    views = [await store.sessions.strays(replica=replica.id, limit=PLENTY) for replica in living]
    assert [(view.rank, view.living) for view in views] == [(0, 3), (1, 3), (2, 3)]
    assert [view.own for view in views] == [(own.thread_id,), (), ()]
    assert all(set(view.left) == {talk.thread_id for talk in talks} for view in views)
    shares = [[thread_id for thread_id in view.left if view.falls_here(thread_id)] for view in views]
    assert sorted(thread_id for share in shares for thread_id in share) == sorted(talk.thread_id for talk in talks)
    await store.replicas.leave(living[0].id)
    alone = await store.sessions.strays(replica=living[1].id, limit=PLENTY)
    assert (alone.rank, alone.living) == (0, 2)
