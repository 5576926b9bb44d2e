"""Giving a session back: whoever is alive may go on at once, the message pays nothing for it, and no right survives."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import PLENTY, Conversation, after_turns, replica_of, said, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.effects import CancelTurn
from unbroken.domain.errors import Fenced
from unbroken.domain.events import TimerFired, UserMessage
from unbroken.domain.policy import Opening, RetryPolicy, opening
from unbroken.domain.session import Claim

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def taken(talk: Conversation, heir: object) -> Claim:
    claim = await talk.claim(heir)  # type: ignore[arg-type]
    assert claim is not None
    return claim


async def test_a_released_session_is_anyones_at_once_and_the_try_does_not_count(store: Subject) -> None:
    talk, heir = await Conversation.begin(store), await replica_of(store)
    held = await talk.accepted()
    assert await store.sessions.release(held)
    assert await talk.is_stray_for(heir)
    assert await talk.is_stray_for(talk.replica)
    assert (await talk.view()).run == 1, "the number of an attempt is never given twice"
    claim = await taken(talk, heir)
    assert (claim.event, claim.owner) == (held.event, heir.id)
    assert (claim.run, claim.tries, claim.handed_over, claim.taken_over) == (2, 1, 1, True)
    assert claim.epoch > held.epoch
    assert not claim.begins
    await talk.finish(claim)
    assert await talk.log() == [(1, "answer 1")]
    following = await talk.accepted()
    assert (following.tries, following.handed_over, following.begins) == (1, 0, True)


async def test_a_message_that_meets_many_deploys_is_not_spent_by_them(store: Subject) -> None:
    talk, policy = await Conversation.begin(store), RetryPolicy(max_tries=3)
    claim = await talk.accepted()
    for deploy in range(1, 6):
        assert await store.sessions.release(claim)
        claim = await taken(talk, await replica_of(store))
        assert (claim.run, claim.tries, claim.handed_over) == (deploy + 1, 1, deploy)
        assert opening(claim, policy) is Opening.RUN
    for tries in (2, 3):  # crashes count as ever
        await store.replicas.renew(claim.owner, lease_ttl_s=0)
        claim = await taken(talk, await replica_of(store))
        assert (claim.tries, claim.handed_over, claim.taken_over) == (tries, 5, True)
    assert await store.sessions.release(claim)
    claim = await taken(talk, await replica_of(store))
    assert (claim.tries, claim.handed_over, claim.run) == (3, 6, 9)
    await store.replicas.leave(claim.owner)
    spent = await taken(talk, await replica_of(store))
    assert opening(spent, policy) is Opening.POISONED


async def test_whoever_released_can_take_it_again_and_is_another_owner_then(store: Subject) -> None:
    talk = await Conversation.begin(store)
    held = await talk.accepted()
    await store.sessions.release(held)
    again = await taken(talk, talk.replica)
    assert (again.tries, again.handed_over, again.taken_over) == (1, 1, True)
    assert again.epoch > held.epoch
    with pytest.raises(Fenced):
        await talk.finish(held)
    await talk.finish(again)


async def test_nothing_can_be_committed_under_a_claim_that_was_given_back(store: Subject) -> None:
    talk = await Conversation.begin(store)
    held = await talk.accepted()
    assert await store.sessions.release(held)
    for call in (talk.finish(held, state=state_at(1)), talk.superstep(held, state_at(1))):
        with pytest.raises(Fenced):
            await call
    assert (await talk.log(), await talk.head()) == ([], None)
    assert not await store.sessions.release(held)


async def test_what_was_committed_of_the_attempt_stays_and_is_gone_on_from(store: Subject) -> None:
    talk, heir = await Conversation.begin(store), await replica_of(store)
    held = await talk.accepted()
    await talk.superstep(held, state_at(1))
    assert await store.sessions.release(held)
    claim = await taken(talk, heir)
    assert claim.resumes
    assert claim.head == state_at(1).heads[0][1]
    await talk.finish(claim, state=state_at(2, parent=1))


async def test_a_claim_that_has_moved_on_gives_nothing_back(store: Subject) -> None:
    talk, heir = await Conversation.begin(store), await replica_of(store)
    first = await talk.accepted()
    await talk.accept()
    second = (await talk.finish(first)).next
    assert second is not None
    assert not await store.sessions.release(first), "its event has ended, and the next one's attempt is under way"
    for stale in (
        replace(second, epoch=second.epoch + 1),
        replace(second, run=second.run - 1),
        replace(second, owner=heir.id),
        replace(second, event=replace(second.event, seq=3)),
    ):
        assert not await store.sessions.release(stale)
    assert not await talk.is_stray_for(heir)
    await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
    third = await taken(talk, heir)
    assert not await store.sessions.release(second)
    await talk.finish(third)


async def test_a_session_without_an_attempt_under_way_is_given_back_by_its_thread(store: Subject) -> None:
    talk, heir = await Conversation.begin(store), await replica_of(store)
    assert not await store.sessions.release_thread(talk.thread_id, replica=talk.replica.id), "there is none"
    await talk.accepted()
    assert not await store.sessions.release_thread(talk.thread_id, replica=heir.id)
    assert not await talk.is_stray_for(heir)
    assert await store.sessions.release_thread(talk.thread_id, replica=talk.replica.id)
    assert await talk.is_stray_for(heir)
    claim = await taken(talk, heir)
    assert (claim.tries, claim.handed_over, claim.taken_over) == (2, 0, True), "that attempt had its try"
    await talk.finish(claim)
    assert await store.sessions.release_thread(talk.thread_id, replica=heir.id), "an idle one as well"
    following = (await talk.accept()).claim
    assert following is not None
    assert following.epoch > claim.epoch


async def test_a_deleted_session_is_given_back_by_nobody(store: Subject) -> None:
    talk = await Conversation.begin(store)
    held = await talk.accepted()
    await store.threads.delete(talk.key.user_id, talk.thread_id)
    assert not await store.sessions.release(held)
    assert not await store.sessions.release_thread(talk.thread_id, replica=talk.replica.id)


async def test_a_timer_whose_attempt_was_handed_over_is_not_skipped_as_unstarted(store: Subject) -> None:
    """Something of it may have been shown, and be in the agent's state."""
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    await store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e", after_s=0, payload=None)
    fired = await talk.accepted(talk.new(TimerFired("t", 1)))
    await talk.superstep(fired, state_at(1))
    await talk.accept(talk.new(UserMessage("wait")))
    await store.sessions.release(fired)
    claim = await taken(talk, await replica_of(store))
    assert claim.superseded
    assert opening(claim, RetryPolicy()) is Opening.RUN


async def test_the_story_tells_every_attempt_and_which_of_them_was_handed_over(store: Subject) -> None:
    talk, heir = await Conversation.begin(store), await replica_of(store)
    held = await talk.accepted()
    await store.sessions.release(held)
    claim = await taken(talk, heir)
    for ended in (False, True):
        if ended:
            await talk.finish(claim)
        facts = await store.audit.session(talk.thread_id, limit=PLENTY)
        assert facts is not None
        (event,) = facts.events
        noted = [(note.run, note.owner, note.why, note.released) for note in event.attempts]
        assert noted == [(1, talk.replica.id, "accepted", True), (2, heir.id, "owner_gone", False)]


@pytest.mark.parametrize("ahead", range(-4, 5))
@pytest.mark.parametrize("finishes", [True, False])
async def test_a_release_that_meets_a_commit_leaves_one_of_them(store: Subject, ahead: int, finishes: bool) -> None:
    for _ in range(3):
        talk, heir = await Conversation.begin(store), await replica_of(store)
        claim = await talk.accepted()
        commit = talk.finish(claim, state=state_at(1)) if finishes else talk.superstep(claim, state_at(1))
        committed, given = await asyncio.gather(
            after_turns(max(0, ahead), commit),
            after_turns(max(0, -ahead), store.sessions.release(claim)),
            return_exceptions=True,
        )
        if finishes:
            assert isinstance(committed, Fenced) == (given is True), (committed, given)
        else:
            assert given is True, "a superstep leaves the session to its claim"
        if given is True:
            again = await taken(talk, heir)
            assert again.tries == 1
            assert (again.head is None) == isinstance(committed, Fenced)
            await talk.finish(again)
        assert await talk.log() == [(1, "answer 1")]


@pytest.mark.parametrize("ahead", range(-4, 5))
async def test_a_release_that_meets_an_accept_strands_nothing(store: Subject, ahead: int) -> None:
    for _ in range(3):
        talk, heir = await Conversation.begin(store), await replica_of(store)
        claim = await talk.accepted()
        given, receipt = await asyncio.gather(
            after_turns(max(0, ahead), store.sessions.release(claim)),
            after_turns(max(0, -ahead), talk.accept(replica=heir)),
        )
        assert given
        assert receipt.claim is None, "the session is not idle"
        assert await talk.is_stray_for(heir)
        again: Claim | None = await taken(talk, heir)
        while again is not None:
            again = (await talk.finish(again)).next
        assert await talk.log() == [(1, "answer 1"), (2, "answer 2")]


@pytest.mark.parametrize("ahead", range(-4, 5))
async def test_of_many_that_claim_what_is_being_released_one_gets_it(store: Subject, ahead: int) -> None:
    for _ in range(3):
        talk = await Conversation.begin(store)
        heirs = [await replica_of(store) for _ in range(6)]
        claim = await talk.accepted()
        given, *claims = await asyncio.gather(
            after_turns(max(0, ahead), store.sessions.release(claim)),
            *(after_turns(max(0, -ahead) + index, talk.claim(heir)) for index, heir in enumerate(heirs)),
        )
        assert given
        won = [found for found in claims if isinstance(found, Claim)]
        assert len(won) <= 1
        winner = won[0] if won else await taken(talk, heirs[0])
        assert (winner.run, winner.tries, winner.handed_over) == (2, 1, 1)
        await talk.finish(winner)


@pytest.mark.parametrize("ahead", range(-4, 5))
async def test_a_cancel_that_meets_a_release_is_carried_out_by_the_heir(store: Subject, ahead: int) -> None:
    for _ in range(3):
        talk, heir = await Conversation.begin(store), await replica_of(store)
        claim = await talk.accepted()
        given, _ = await asyncio.gather(
            after_turns(max(0, ahead), store.sessions.release(claim)),
            after_turns(max(0, -ahead), talk.cancel(claim.event.request_id)),
        )
        assert given
        again = await taken(talk, heir)
        assert again.cancel == "cancel"
        await talk.finish(again, CancelTurn("", again.run), cancels=True)


async def test_a_replica_of_the_version_before_takes_over_what_was_released(store: Subject) -> None:
    """It counts the attempt as a try, and leaves nothing that this version could not read."""
    if not hasattr(store, "pool"):
        return  # one process has one version
    talk, heir = await Conversation.begin(store), await replica_of(store)
    claim = await talk.accepted()
    await store.sessions.release(claim)
    (row,) = await store.pool.write("SELECT * FROM unbroken_claim_v2($1, $2, $3)", talk.thread_id, heir.id, None)
    assert (row["claimed"], row["tries"], row["run"]) == (True, 2, 2)
    await store.replicas.leave(heir.id)
    again = await taken(talk, await replica_of(store))
    assert (again.tries, again.handed_over, again.run) == (2, 1, 3)
    await talk.finish(again, said("done", again.run))
