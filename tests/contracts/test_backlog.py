"""Backlogs: how much waits in a store, which other tests may have used."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import PLENTY, Conversation, replica_of, said
from tests.contracts.subjects import Subject
from unbroken.domain.effects import ScheduleTimer, SkipEvent
from unbroken.domain.ports.backlog import Backlog

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def measured(store: Subject, replica: int = 0) -> Backlog:
    return await store.backlogs.measure(replica=replica)


async def test_an_event_counts_from_its_acceptance_to_its_end_whoever_has_it(store: Subject) -> None:
    assert (await measured(store)).events == 0
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    assert (await measured(store)).events == 1, "the one that runs"
    await talk.accept()
    other = await Conversation.begin(store)
    await other.accepted()
    assert (await measured(store)).events == 3, "the ones that wait"
    following = (await talk.finish(claim)).next
    assert following is not None
    await talk.finish(following)
    assert (await measured(store)).events == 1
    await store.threads.delete("ann", other.thread_id)
    assert await measured(store) == Backlog(0, 0.0, 0, 0, 0, 0.0), "nobody waits in a deleted thread"


async def test_the_oldest_event_s_age_grows_until_it_ends_and_never_with_a_later_one(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await asyncio.sleep(0.05)
    await talk.accept()
    age = (await measured(store)).oldest_event_s
    assert age > 0
    await asyncio.sleep(0.05)
    grown = (await measured(store)).oldest_event_s
    assert grown > age
    await talk.finish(claim)
    assert (await measured(store)).oldest_event_s < grown


async def test_effects_count_while_somebody_has_to_execute_them(store: Subject) -> None:
    talk = await Conversation.begin(store)
    alarms = [ScheduleTimer(60.0, number, f"timer {number}") for number in range(3)]
    await talk.finish(await talk.accepted(), said("done"), *alarms, SkipEvent("it was late"))
    before = await measured(store)
    assert (before.effects_pending, before.effects_executing) == (3, 0)
    (claim,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=60.0)
    during = await measured(store)
    assert (during.effects_pending, during.effects_executing) == (2, 1)
    await store.outbox.complete(claim)
    (claim,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=60.0)
    await store.outbox.postpone(claim, retry_after_s=None)
    after = await measured(store)
    assert (after.effects_pending, after.effects_executing) == (1, 0)
    assert (before.dead_letters, after.dead_letters) == (0, 1)


async def test_the_lease_that_is_left_is_the_asker_s_own(store: Subject) -> None:
    short, long = await replica_of(store, lease_ttl_s=50.0), await replica_of(store, lease_ttl_s=5000.0)
    assert 0 < (await measured(store, short.id)).lease_left_s <= 50
    assert 4000 < (await measured(store, long.id)).lease_left_s <= 5000
    await store.replicas.leave(long.id)
    assert (await measured(store, long.id)).lease_left_s == 0
