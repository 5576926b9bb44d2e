"""Calls that meet: whatever the order, no event is left that nobody will run, and none is counted twice."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import PLENTY, Conversation, after_turns, replica_of, said, state_at, unique
from tests.contracts.subjects import Subject
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.errors import Fenced, TimerGone
from unbroken.domain.events import TimerFired
from unbroken.domain.ports.outbox import Reached
from unbroken.domain.session import Claim

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("same_replica", [True, False])
@pytest.mark.parametrize("ahead", range(-6, 7))
async def test_an_accept_that_meets_a_finish_is_seen_by_one_of_them_or_is_a_stray(
    store: Subject, ahead: int, same_replica: bool
) -> None:
    async def meet() -> None:
        talk = await Conversation.begin(store)
        replica = talk.replica if same_replica else await replica_of(store)
        claim = await talk.accepted()
        committed, receipt = await asyncio.gather(
            after_turns(max(0, ahead), talk.finish(claim)), after_turns(max(0, -ahead), talk.accept(replica=replica))
        )
        assert receipt.event.seq == 2
        claims = [claim for claim in (committed.next, receipt.claim) if claim]
        if not claims:
            assert await talk.is_stray_for(talk.replica)
            claims = [claim for claim in [await talk.claim()] if claim]
        assert [(claim.event.seq, claim.tries, claim.run) for claim in claims] == [(2, 1, 2)]
        assert (await talk.finish(claims[0])).next is None
        assert await talk.log() == [(1, "answer 1"), (2, "answer 2")]

    for _ in range(2):
        await asyncio.gather(*(meet() for _ in range(6)))


@pytest.mark.parametrize("ahead", range(-4, 5))
async def test_a_takeover_that_meets_a_finish_leaves_one_end(store: Subject, ahead: int) -> None:
    for _ in range(5):
        talk, heir = await Conversation.begin(store), await replica_of(store)
        claim = await talk.accepted()
        await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
        ended, taken = await asyncio.gather(
            after_turns(max(0, ahead), talk.finish(claim, state=state_at(1))),
            after_turns(max(0, -ahead), talk.claim(heir)),
            return_exceptions=True,
        )
        assert isinstance(ended, Fenced) == (taken is not None), (ended, taken)
        if isinstance(taken, Claim):
            assert (taken.tries, taken.head) == (2, None)
            await talk.finish(taken, state=state_at(2))
        assert await talk.log() == [(1, "answer 1")]


async def converse(talk: Conversation, turns: int) -> None:
    """Say, answer, set timers, promote them, lose claims; every error of the tree is somebody's lost race."""
    claim: Claim | None = None
    for number in range(turns):
        try:
            claim = (await talk.accept()).claim or claim or await talk.claim()
            if claim is None:
                continue
            await talk.superstep(claim, state_at(number))
            claim = (await talk.finish(claim, said("yes", claim.run), ScheduleTimer(0.0, number))).next
            for timer in await talk.store.timers.due(limit=5):
                new = talk.new(TimerFired(timer.timer_id, timer.generation), request_id=unique("timer"))
                await talk.accept(new, key=timer.key)
        except (Fenced, TimerGone):
            claim = None
        for effect in await talk.store.outbox.claim(replica=talk.replica.id, limit=5, until_s=60):
            await talk.store.timers.schedule(
                effect.thread_id, "t", after_event=effect.event_seq, created_by=effect.dedupe_key, after_s=0, payload=1
            )
            await talk.store.outbox.complete(effect)
        await talk.store.outbox.mark({talk.thread_id: Reached(number)}, {talk.thread_id: Reached(number)})


async def test_crowds_on_few_sessions_meet_without_deadlock_gap_or_loss(store: Subject) -> None:
    keys = [(await Conversation.begin(store)).key for _ in range(3)]
    crowd = [Conversation(store, await replica_of(store), key) for key in keys for _ in range(4)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(converse(talk, 12) for talk in crowd))
    for talk in crowd:
        await store.replicas.leave(talk.replica.id)
    survivor = await replica_of(store)
    for key in keys:
        await assert_whole(Conversation(store, survivor, key))


async def assert_whole(talk: Conversation) -> None:
    """Work off what is left; then everything accepted is numbered without a gap and ended once, in order."""
    claim = await talk.claim()
    while claim:
        claim = (await talk.finish(claim)).next
    view = await talk.view()
    entries = await talk.store.outbox.read(talk.thread_id, after=0, limit=PLENTY)
    assert [entry.log_index for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.event.seq for entry in entries] == list(range(1, view.applied_seq + 1))
    assert view.pending == ()
    assert view.applied_seq >= 48, "the crowd did not get far enough to prove anything"
