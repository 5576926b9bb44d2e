"""Deleting a thread while others work on it: they are fenced out or refused, and nothing of theirs stays."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import PLENTY, Conversation, after_turns, checkpoint_id, said, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.errors import Fenced, ThreadDeleted, TimerGone, UnbrokenError
from unbroken.domain.events import TimerFired

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def delete(talk: Conversation) -> None:
    await talk.store.threads.delete(talk.key.user_id, talk.thread_id)


async def nothing_is_left(talk: Conversation) -> None:
    store = talk.store
    assert await talk.log() == []
    assert await store.checkpoints.history(talk.thread_id, None) == []
    assert talk.thread_id not in [timer.key.thread_id for timer in await store.timers.due(limit=PLENTY)]
    assert talk.thread_id not in (await store.sessions.strays(replica=talk.replica.id, limit=PLENTY)).threads
    assert await talk.marks() == []
    assert await talk.claim() is None
    records = [record async for record in store.user_data.export(talk.key.user_id)]
    assert {record["record"] for record in records if record["threadId"] == talk.thread_id} == {"thread"}


async def test_an_attempt_whose_thread_is_deleted_is_fenced_out_wherever_it_stands(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.accept()
    await talk.cancel(claim.event.request_id)
    await talk.superstep(claim, state_at(1))
    await delete(talk)
    with pytest.raises(Fenced):
        await talk.superstep(claim, state_at(2))
    with pytest.raises(Fenced):
        await talk.finish(claim, state=state_at(3), cancels=True)
    await nothing_is_left(talk)


async def test_a_timer_of_a_deleted_thread_never_fires_and_is_never_set(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), said("later"), ScheduleTimer(0.0))
    await store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e", after_s=0.0, payload=None)
    effects = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
    await delete(talk)
    await store.timers.schedule(talk.thread_id, "u", after_event=1, created_by="f", after_s=0.0, payload=None)
    assert [await store.outbox.complete(effect) for effect in effects] == [False] * len(effects)
    await nothing_is_left(talk)
    with pytest.raises((ThreadDeleted, TimerGone)):
        await talk.accept(talk.new(TimerFired("t", 1)))


@pytest.mark.parametrize("turns", range(0, 12, 2))
async def test_a_deletion_that_meets_a_turn_leaves_nothing_of_it(store: Subject, turns: int) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()

    async def work() -> None:
        await talk.superstep(claim, state_at(1))
        following = (await talk.finish(claim, state=state_at(2, parent=1))).next
        if following is not None:
            await talk.finish(following, state=state_at(3, parent=2))

    outcomes = await asyncio.gather(
        work(), talk.accept(), talk.accept(), after_turns(turns, delete(talk)), talk.claim(), return_exceptions=True
    )
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(failure, UnbrokenError) for failure in failures), failures
    await nothing_is_left(talk)
    with pytest.raises(ThreadDeleted):
        await talk.accept()


async def test_a_deletion_touches_no_other_thread(store: Subject) -> None:
    talk, other = await Conversation.begin(store), await Conversation.begin(store)
    for each in (talk, other):
        await each.finish(await each.accepted(), state=state_at(1))
    await delete(talk)
    assert await other.log() == [(1, "answer 1")]
    assert await other.head() == checkpoint_id(1)
