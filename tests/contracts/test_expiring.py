"""Retention: threads go when nothing was said for long enough, and only then."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import PLENTY, Conversation
from tests.contracts.subjects import Subject
from unbroken.domain.errors import ThreadDeleted, UnbrokenError

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def silent(store: Subject) -> Conversation:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    return talk


async def test_only_threads_that_were_silent_for_long_enough_are_deleted(store: Subject) -> None:
    talk = await silent(store)
    assert talk.key not in (await store.user_data.expire(idle_s=3600, after="", limit=PLENTY)).deleted
    assert (await talk.log()) == [(1, "answer 1")]
    assert talk.key in (await store.user_data.expire(idle_s=0, after="", limit=PLENTY)).deleted
    with pytest.raises(ThreadDeleted):
        await talk.view()
    assert talk.key not in (await store.user_data.expire(idle_s=0, after="", limit=PLENTY)).deleted


async def test_a_thread_in_which_something_is_still_to_come_does_not_expire(store: Subject) -> None:
    running, armed = await Conversation.begin(store), await silent(store)
    await running.accepted()
    await store.timers.schedule(armed.thread_id, "t", after_event=1, created_by="e", after_s=99, payload=None)
    expired = await store.user_data.expire(idle_s=0, after="", limit=PLENTY)
    assert not {running.key, armed.key} & set(expired.deleted)


async def test_a_large_store_is_gone_through_bit_by_bit(store: Subject) -> None:
    talks = {(await silent(store)).key for _ in range(5)}
    deleted: set[object] = set()
    after, looks = "", 0
    while True:
        expired = await store.user_data.expire(idle_s=0, after=after, limit=2)
        deleted |= set(expired.deleted)
        after, looks = expired.resume_after, looks + 1
        if not after:
            break
    assert talks <= deleted
    assert looks >= 3


@pytest.mark.parametrize("round_", range(4))
async def test_a_message_that_meets_its_threads_expiry_is_either_kept_or_refused(store: Subject, round_: int) -> None:
    talk = await silent(store)

    async def expire() -> object:
        await asyncio.sleep(0.001 * round_)
        return (await store.user_data.expire(idle_s=0, after="", limit=PLENTY)).deleted

    receipt, deleted = await asyncio.gather(talk.accept(), expire(), return_exceptions=True)
    assert isinstance(deleted, tuple)
    if talk.key in deleted:
        assert isinstance(receipt, ThreadDeleted)
    else:
        assert not isinstance(receipt, UnbrokenError)
        assert (await talk.view()).pending != ()
