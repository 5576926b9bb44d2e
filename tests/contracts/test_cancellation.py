"""A caller that is cancelled in the middle: all or nothing, and no connection is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.contracts.conversation import PLENTY, Conversation, checkpoint_id, replica_of, said, state_at
from tests.contracts.subjects import Subject, given_back
from unbroken.domain.effects import ScheduleTimer

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOMENTS = [*range(12), 15, 20, 30, 50, 80]
"""Turns of the loop after which the caller is cancelled."""


async def cancelled_after(turns: int, call: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_accept_is_stored_whole_or_not_at_all(store: Subject, turns: int) -> None:
    talk = await Conversation.begin(store)
    new = talk.new()
    await cancelled_after(turns, talk.accept(new))
    again = await talk.accept(new)
    assert again.event.seq == 1
    assert [event.seq for event in (await talk.view()).pending] == [1]
    if again.duplicate:
        assert await talk.is_stray_for(talk.replica), "accepted, and nobody will ever run it"
        claim = await talk.claim()
        assert claim is not None
        assert (claim.tries, claim.run) == (2, 2), "the lost accept had counted its attempt"
    else:
        assert again.claim is not None
        assert (again.claim.tries, again.claim.run) == (1, 1)


@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_finish_is_committed_whole_or_not_at_all(store: Subject, turns: int) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await cancelled_after(turns, talk.finish(claim, said("yes"), ScheduleTimer(0.0), state=state_at(1)))
    again = await talk.claim()
    effects = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=60)
    owed = [effect for effect in effects if effect.thread_id == talk.thread_id]
    view = await talk.view()
    if again is None:
        assert (view.applied_seq, view.log_index, view.pending) == (1, 1, ())
        assert await talk.log() == [(1, "yes")]
        assert (await talk.head(), len(owed)) == (checkpoint_id(1), 1)
    else:
        assert (again.event.seq, again.tries, again.head) == (1, 2, None)
        assert (view.applied_seq, view.log_index, len(view.pending)) == (0, 0, 1)
        assert await talk.log() == []
        assert (await talk.head(), owed) == (None, [])


@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_claim_counts_one_attempt_or_none(store: Subject, turns: int) -> None:
    talk, heir = await Conversation.begin(store), await replica_of(store)
    await talk.accept()
    await store.replicas.leave(talk.replica.id)
    await cancelled_after(turns, talk.claim(heir))
    claim = await talk.claim(heir)
    assert claim is not None
    assert (claim.run, claim.tries, claim.epoch) in {(2, 2, 2), (3, 3, 3)}


@pytest.mark.parametrize("turns", MOMENTS)
async def test_a_cancelled_put_is_stored_whole_or_not_at_all(store: Subject, turns: int) -> None:
    talk = await Conversation.begin(store)
    await cancelled_after(turns, store.checkpoints.put(talk.thread_id, state_at(1)))
    await given_back(store)
    stored = await store.checkpoints.history(talk.thread_id, "")
    assert await talk.head() == (checkpoint_id(1) if stored else None)
    assert [len(found.blobs) for found in stored] in ([], [1])


async def test_a_crowd_of_cancelled_callers_leaves_the_store_usable(store: Subject) -> None:
    talk = await Conversation.begin(store)
    news = [talk.new() for _ in range(40)]
    await asyncio.gather(*(cancelled_after(turns, talk.accept(new)) for turns, new in enumerate(news)))
    receipts = await asyncio.gather(*(talk.accept(new) for new in news))
    assert sorted(receipt.event.seq for receipt in receipts) == list(range(1, 41))
