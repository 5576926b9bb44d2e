"""EventStore.accept: durable, gap-free, idempotent (I2, I3)."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import Conversation, replica_of
from tests.contracts.subjects import Subject
from unbroken.domain.errors import (
    BodyConflict,
    InvalidValue,
    NotYourThread,
    QueueFull,
    ThreadDeleted,
    Unavailable,
)
from unbroken.domain.events import InputResponse, UserMessage
from unbroken.domain.session import SessionKey

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("racers", [8, 20])
async def test_racing_first_accepts_number_without_gaps_and_exactly_one_claims(store: Subject, racers: int) -> None:
    for _ in range(10):
        talk = await Conversation.begin(store)
        receipts = await asyncio.gather(*(talk.accept() for _ in range(racers)))
        assert sorted(receipt.event.seq for receipt in receipts) == list(range(1, racers + 1))
        claims = [receipt.claim for receipt in receipts if receipt.claim]
        assert [(claim.event.seq, claim.tries, claim.owner) for claim in claims] == [(1, 1, talk.replica.id)]
        pending = (await talk.view()).pending
        assert [event.seq for event in pending] == list(range(1, racers + 1))
        assert {event.id for event in pending} == {receipt.event.id for receipt in receipts}


async def test_racing_first_accepts_of_two_replicas_give_one_owner(store: Subject) -> None:
    for _ in range(10):
        talk, other = await Conversation.begin(store), await replica_of(store)
        receipts = await asyncio.gather(*(talk.accept(replica=(talk.replica, other)[n % 2]) for n in range(8)))
        assert len([receipt for receipt in receipts if receipt.claim]) == 1
        assert sorted(receipt.event.seq for receipt in receipts) == list(range(1, 9))


@pytest.mark.parametrize("session_exists", [False, True])
async def test_racing_twins_become_one_event_and_leave_no_gap(store: Subject, session_exists: bool) -> None:
    for _ in range(10):
        talk = await Conversation.begin(store)
        if session_exists:
            await talk.accept()
        twins = [talk.new(UserMessage("twin"), request_id="same") for _ in range(8)]
        others = [talk.new() for _ in range(4)]
        receipts = await asyncio.gather(*(talk.accept(new) for new in [*twins, *others]))
        assert len({(receipt.event.seq, receipt.event.id) for receipt in receipts[:8]}) == 1
        assert sorted(receipt.duplicate for receipt in receipts[:8]) == [False] + [True] * 7
        assert not any(receipt.claim for receipt in receipts if receipt.duplicate)
        pending = (await talk.view()).pending
        assert [event.seq for event in pending] == list(range(1, len(pending) + 1))
        assert len(pending) == 5 + session_exists
        assert (await talk.accept()).event.seq == len(pending) + 1


async def test_a_repeat_gives_the_same_event_whatever_happened_since(store: Subject) -> None:
    talk = await Conversation.begin(store)
    new = talk.new(UserMessage([{"type": "text", "text": "né 😀"}]))
    first = await talk.accept(new)
    assert first.claim is not None
    await talk.finish(first.claim)
    await talk.accept()
    again = await talk.accept(talk.new(new.body, request_id=new.request_id))
    assert (again.event, again.duplicate, again.claim) == (first.event, True, None)


async def test_the_same_id_with_another_body_is_a_conflict_and_writes_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.accept(talk.new(UserMessage("one"), request_id="id"))
    for body in (UserMessage("two"), InputResponse("one", "one"), UserMessage([{"type": "text", "text": "one"}])):
        with pytest.raises(BodyConflict) as conflict:
            await talk.accept(talk.new(body, request_id="id"))
        assert (conflict.value.request_id, conflict.value.seq) == ("id", 1)
    assert len((await talk.view()).pending) == 1


async def test_bodies_that_differ_only_in_the_order_of_their_keys_are_the_same(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.accept(talk.new(InputResponse("q", {"a": 1, "b": [2]}), request_id="id"))
    assert (await talk.accept(talk.new(InputResponse("q", {"b": [2], "a": 1}), request_id="id"))).duplicate


async def test_request_ids_of_different_threads_do_not_meet(store: Subject) -> None:
    one = await Conversation.begin(store)
    two = Conversation(store, one.replica)
    await one.accept(one.new(UserMessage("one"), request_id="id"))
    assert not (await two.accept(two.new(UserMessage("two"), request_id="id"))).duplicate


async def test_a_thread_belongs_to_its_first_user_and_agent_forever(store: Subject) -> None:
    talk = await Conversation.begin(store)
    new = talk.new()
    await talk.accept(new)
    for key in (SessionKey("bob", "demo", talk.thread_id), SessionKey("ann", "other", talk.thread_id)):
        for attempt in (talk.new(), new):
            with pytest.raises(NotYourThread):
                await talk.accept(attempt, key=key)
    assert len((await talk.view()).pending) == 1
    assert (await talk.view()).key == talk.key


async def test_two_users_racing_for_a_new_thread_end_with_one_of_them(store: Subject) -> None:
    for _ in range(10):
        talk = await Conversation.begin(store)
        keys = [SessionKey(f"user-{n % 2}", "demo", talk.thread_id) for n in range(8)]
        results = await asyncio.gather(*(talk.accept(key=key) for key in keys), return_exceptions=True)
        owner = (await talk.view()).key
        for key, result in zip(keys, results, strict=True):
            assert isinstance(result, NotYourThread) == (key != owner), result
        assert [event.seq for event in (await talk.view()).pending] == [1, 2, 3, 4]


async def test_a_full_queue_refuses_the_new_and_answers_the_repeated(store: Subject) -> None:
    talk = await Conversation.begin(store)
    news = [talk.new() for _ in range(3)]
    receipts = [await talk.accept(new, queue_limit=3) for new in news]
    with pytest.raises(QueueFull) as full:
        await talk.accept(queue_limit=3)
    assert full.value.limit == 3
    assert (await talk.accept(news[2], queue_limit=3)).duplicate
    assert receipts[0].claim is not None
    await talk.finish(receipts[0].claim)
    assert (await talk.accept(queue_limit=3)).event.seq == 4, "what was refused left a gap"


async def test_a_racing_crowd_never_passes_the_queue_limit(store: Subject) -> None:
    talk = await Conversation.begin(store)
    results = await asyncio.gather(*(talk.accept(queue_limit=5) for _ in range(12)), return_exceptions=True)
    assert len([result for result in results if isinstance(result, QueueFull)]) == 7
    assert [event.seq for event in (await talk.view()).pending] == [1, 2, 3, 4, 5]


async def test_a_deleted_thread_takes_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    new = talk.new()
    await talk.accept(new)
    await store.entomb(talk.thread_id)
    for attempt in (talk.new(), new):
        with pytest.raises(ThreadDeleted):
            await talk.accept(attempt)
    with pytest.raises(ThreadDeleted):
        await talk.view()
    assert await talk.claim() is None
    assert not await talk.is_stray_for(talk.replica)


async def test_a_failing_commit_surfaces_and_leaves_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    fresh = Conversation(store, talk.replica)
    await talk.accept()
    async with store.commits_fail():
        for conversation in (talk, fresh):
            with pytest.raises(Unavailable):
                await conversation.accept()
    assert (await talk.accept()).event.seq == 2
    assert await store.sessions.view(fresh.thread_id) is None
    assert (await fresh.accept()).event.seq == 1


async def test_what_json_cannot_hold_is_refused_and_leaves_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for value in ("a\x00b", "half \ud800 a pair", {"key\x00": 1}, object()):
        with pytest.raises(InvalidValue):
            await talk.accept(talk.new(InputResponse("q", value)))
    assert (await talk.accept(talk.new(InputResponse("q", "a \\u0000 spelled out")))).event.seq == 1


async def test_an_idle_session_keeps_its_epoch_with_its_owner_and_gains_one_with_another(store: Subject) -> None:
    talk, other = await Conversation.begin(store), await replica_of(store)
    first = await talk.accepted()
    assert (first.run, first.tries, first.taken_over) == (1, 1, False)
    await talk.finish(first)
    second = await talk.accepted()
    assert (second.epoch, second.run, second.tries) == (first.epoch, first.run + 1, 1)
    await talk.finish(second)
    third = (await talk.accept(replica=other)).claim
    assert third is not None
    assert (third.owner, third.epoch, third.run, third.tries) == (other.id, second.epoch + 1, second.run + 1, 1)
    assert (third.log_index, third.applied_seq) == (2, 2)


async def test_an_accept_that_is_not_first_leaves_the_session_alone_and_is_found_later(store: Subject) -> None:
    talk, other = await Conversation.begin(store), await replica_of(store)
    claim = await talk.accepted()
    assert (await talk.accept(replica=other)).claim is None
    assert await talk.is_stray_for(talk.replica)
    assert not await talk.is_stray_for(other)
    following = (await talk.finish(claim)).next
    assert following is not None
    assert (following.event.seq, following.owner, following.epoch) == (2, talk.replica.id, claim.epoch)


async def test_an_event_keeps_its_trace_context_and_its_time(store: Subject) -> None:
    talk = await Conversation.begin(store)
    new = talk.new()
    new.trace_context.update(traceparent="00-1-2-01")
    event = (await talk.accept(new)).event
    assert event.trace_context == {"traceparent": "00-1-2-01"}
    assert event.created_at.utcoffset() is not None
    assert (await talk.view()).pending == (event,)
