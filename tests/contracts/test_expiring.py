"""Retention: threads go when nothing was said for long enough, and only then."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import PLENTY, Conversation, said
from tests.contracts.subjects import Subject
from unbroken.domain.errors import QueueFull, ThreadDeleted, UnbrokenError
from unbroken.domain.events import RunStart
from unbroken.domain.session import Claim, SessionKey

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


TEMPORARY = RunStart({"a": 1}, client={"temporary": True})


async def alone(store: Subject) -> Conversation:
    """A run in a thread of its own, which has ended."""
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(talk.new(TEMPORARY)))
    return talk


async def swept(store: Subject, *, idle_s: float = 0, limit: int = PLENTY, after: str = "") -> set[SessionKey]:
    return set((await store.user_data.expire_temporary(idle_s=idle_s, after=after, limit=limit)).deleted)


async def test_threads_of_runs_that_have_ended_for_long_enough_go_and_no_others(store: Subject) -> None:
    talk, other = await alone(store), await silent(store)
    kept = await Conversation.begin(store)
    await kept.finish(await kept.accepted(kept.new(RunStart({"a": 1}, client={"temporary": False}))))
    assert talk.key not in await swept(store, idle_s=3600)
    assert await talk.log() == [(1, "answer 1")]
    found = await swept(store)
    assert talk.key in found
    assert not {other.key, kept.key} & found
    with pytest.raises(ThreadDeleted):
        await talk.view()
    assert talk.key not in await swept(store), "once"
    assert await other.log() == await kept.log() == [(1, "answer 1")]


async def test_a_thread_of_a_run_is_left_alone_until_all_in_it_has_ended(store: Subject) -> None:
    running, followed, armed = await Conversation.begin(store), await alone(store), await alone(store)
    claim = await running.accepted(running.new(TEMPORARY))
    await followed.accept()
    await store.timers.schedule(armed.thread_id, "t", after_event=1, created_by="e", after_s=99, payload=None)
    assert not {running.key, followed.key, armed.key} & await swept(store)
    await running.finish(claim, said("done"))
    assert running.key in await swept(store)


async def test_what_its_own_run_has_deleted_is_nothing_to_sweep(store: Subject) -> None:
    talk, erased = await alone(store), await alone(store)
    await store.threads.delete(talk.key.user_id, talk.thread_id)
    stranger = Conversation(store, erased.replica, SessionKey("eve", "demo", f"{erased.thread_id}-eve"))
    await stranger.finish(await stranger.accepted(stranger.new(TEMPORARY)))
    await store.user_data.erase("eve")
    assert not {talk.key, stranger.key} & await swept(store)


async def test_a_run_that_was_refused_leaves_nothing_to_sweep(store: Subject) -> None:
    talk = await silent(store)
    await talk.accept()
    with pytest.raises(QueueFull):
        await talk.accept(talk.new(TEMPORARY), queue_limit=1)
    await talk.finish(await claimed(talk))
    assert talk.key not in await swept(store)
    assert len(await talk.log()) == 2


async def claimed(talk: Conversation) -> Claim:
    claim = await talk.claim()
    assert claim is not None
    return claim


async def test_threads_of_many_runs_go_batch_by_batch(store: Subject) -> None:
    talks = {(await alone(store)).key for _ in range(5)}
    deleted: set[SessionKey] = set()
    after, looks = "", 0
    while looks < 100:
        expired = await store.user_data.expire_temporary(idle_s=0, after=after, limit=2)
        deleted |= set(expired.deleted)
        after, looks = expired.resume_after, looks + 1
        if not after:
            break
    assert talks <= deleted
    assert looks >= 3


async def test_some_who_sweep_at_once_meet_without_harm(store: Subject) -> None:
    talks = [await alone(store) for _ in range(5)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(swept(store) for _ in range(3)))
    for talk in talks:
        with pytest.raises(ThreadDeleted):
            await talk.view()
    assert not {talk.key for talk in talks} & await swept(store)
