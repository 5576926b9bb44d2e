"""Outbox: the log that clients read, and the queue of what has no place in it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import PLENTY, Conversation, checkpoint_id, replica_of, said, state_at, unique
from tests.contracts.subjects import Subject
from unbroken.domain.effects import (
    CancelTurn,
    CloseQuestion,
    EffectBody,
    EffectClaim,
    ReportFailure,
    RequestInput,
    ScheduleTimer,
    SkipEvent,
)
from unbroken.domain.events import StateUpdate
from unbroken.domain.ports.outbox import Ended, Reached

pytestmark = pytest.mark.asyncio(loop_scope="session")


def alarm(number: int) -> ScheduleTimer:
    return ScheduleTimer(60.0, number, f"timer {number}")


async def owing(store: Subject, *numbers: int) -> Conversation:
    """A session whose one event left these effects to execute."""
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), said("done"), *map(alarm, numbers))
    return talk


async def claimed(talk: Conversation, *, until_s: float = 60.0) -> list[EffectClaim]:
    found = await talk.store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=until_s)
    return [claim for claim in found if claim.thread_id == talk.thread_id]


async def claimed_one(talk: Conversation, *, until_s: float = 60.0) -> EffectClaim:
    (claim,) = await claimed(talk, until_s=until_s)
    return claim


async def test_the_log_is_read_in_order_from_any_cursor(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for number in range(1, 6):
        await talk.finish(await talk.accepted(), said(f"answer {number}"))
    for after in range(7):
        entries = await store.outbox.read(talk.thread_id, after=after, limit=3)
        assert [entry.log_index for entry in entries] == list(range(after + 1, min(after + 3, 5) + 1))
        assert all(entry.event.seq == entry.log_index for entry in entries)
    assert list(await store.outbox.read(unique("thread"), after=0, limit=3)) == []


async def test_logged_bodies_come_back_as_they_were_said(store: Subject) -> None:
    talk = await Conversation.begin(store)
    full = replace(
        said("né 😀"),
        content=[{"id": "m", "role": "assistant", "content": [{"type": "text", "text": "né 😀"}], "tool_calls": []}],
        token_usage={"input": 3},
        waiting=True,
        revised=True,
    )
    bodies = (full, RequestInput("q", {"nested": [None, True, 1.5, "x"]}), ReportFailure("timed_out", "late", 1, True))
    committed = await talk.finish(await talk.accepted(), *bodies)
    read = await store.outbox.read(talk.thread_id, after=0, limit=PLENTY)
    assert tuple(entry.body for entry in read) == tuple(entry.body for entry in committed.entries) == bodies


@pytest.mark.parametrize(
    "end", [said("yes"), ReportFailure("timed_out", "late", 1, True), CancelTurn("so", 1), SkipEvent("né 😀", "failed")]
)
async def test_what_an_event_ended_with_is_found_in_the_log_or_beside_it(store: Subject, end: EffectBody) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted(talk.new(StateUpdate({"a": 1})))
    assert await store.outbox.end_of(talk.thread_id, claim.event.seq) is None
    await talk.finish(claim, CloseQuestion("q:1", "superseded"), end, alarm(1), state=state_at(1))
    await talk.finish(await talk.accepted(), said("of another one"), state=state_at(2, parent=1))
    assert await store.outbox.end_of(talk.thread_id, claim.event.seq) == Ended(end, checkpoint_id(1))
    assert await store.outbox.end_of(unique("thread"), claim.event.seq) is None
    await store.threads.delete(talk.key.user_id, talk.thread_id)
    assert await store.outbox.end_of(talk.thread_id, claim.event.seq) is None


async def test_marks_are_never_lowered_and_do_not_need_the_thread(store: Subject) -> None:
    talk = await owing(store)
    for sent, acked, expected in ((3, 2, 2), (2, 1, 2), (9, 5, 5), (0, 0, 5)):
        await store.outbox.mark(
            {talk.thread_id: Reached(sent), unique("thread"): Reached(5)}, {talk.thread_id: Reached(acked)}
        )
        assert (await talk.view()).acked == expected
    await store.outbox.mark({}, {})
    await store.outbox.mark({talk.thread_id: Reached(10)}, {})
    assert (await talk.view()).acked == 5


async def test_many_sessions_are_marked_at_once_and_by_racers(store: Subject) -> None:
    talks = [await owing(store) for _ in range(5)]
    rounds = [{talk.thread_id: Reached(cursor) for talk in talks[:: 1 if cursor % 2 else -1]} for cursor in range(1, 9)]
    await asyncio.gather(*(store.outbox.mark(marks, marks) for marks in rounds))
    assert [(await talk.view()).acked for talk in talks] == [8] * 5


async def test_effects_of_one_session_are_executed_in_their_order(store: Subject) -> None:
    talk = await owing(store, 1, 2)
    await talk.finish(await talk.accepted(), said("more"), alarm(3))
    order = []
    for _ in range(3):
        claim = await claimed_one(talk)
        assert await claimed(talk) == [], "a session's second effect was handed out beside its first"
        order.append((claim.event_seq, claim.body, claim.attempt_count))
        assert await store.outbox.complete(claim)
    assert order == [(1, alarm(1), 1), (1, alarm(2), 1), (2, alarm(3), 1)]
    assert await claimed(talk) == []


async def test_effects_of_different_sessions_do_not_wait_for_each_other(store: Subject) -> None:
    one, two = await owing(store, 1), await owing(store, 2)
    found = await store.outbox.claim(replica=one.replica.id, limit=PLENTY, until_s=60)
    assert {one.thread_id, two.thread_id} <= {claim.thread_id for claim in found}


async def test_one_of_racing_claimers_wins_each_effect(store: Subject) -> None:
    talks = [await owing(store, 1) for _ in range(4)]
    racers = [await replica_of(store) for _ in range(8)]
    found = await asyncio.gather(*(store.outbox.claim(replica=racer.id, limit=PLENTY, until_s=60) for racer in racers))
    threads = [claim.thread_id for claims in found for claim in claims]
    for talk in talks:
        assert threads.count(talk.thread_id) == 1


async def test_a_claim_takes_no_more_than_its_limit(store: Subject) -> None:
    talks = [await owing(store, 1) for _ in range(3)]
    found = await store.outbox.claim(replica=talks[0].replica.id, limit=2, until_s=60)
    assert len(found) == 2


async def test_an_expired_claim_is_claimed_again_and_its_late_completion_refused(store: Subject) -> None:
    talk = await owing(store, 1)
    late = await claimed_one(talk, until_s=0)
    heir = await claimed_one(talk)
    assert (heir.claim_no, heir.attempt_count) == (late.claim_no + 1, 2)
    assert heir.body == late.body
    assert not await store.outbox.complete(late)
    assert not await store.outbox.postpone(late, retry_after_s=None)
    assert await store.outbox.complete(heir)
    assert await claimed(talk) == []


async def test_a_postponed_effect_comes_back_and_keeps_its_place(store: Subject) -> None:
    talk = await owing(store, 1, 2)
    claim = await claimed_one(talk)
    assert await store.outbox.postpone(claim, retry_after_s=60.0)
    assert await claimed(talk) == [], "it was retried too early, or its successor overtook it"
    talk = await owing(store, 1, 2)
    claim = await claimed_one(talk)
    assert await store.outbox.postpone(claim, retry_after_s=0.0)
    again = await claimed_one(talk)
    assert (again.body, again.attempt_count, again.claim_no) == (alarm(1), 2, claim.claim_no + 1)


async def test_a_dead_letter_lets_the_next_effect_pass_and_never_comes_back(store: Subject) -> None:
    talk = await owing(store, 1, 2)
    claim = await claimed_one(talk)
    assert await store.outbox.postpone(claim, retry_after_s=None)
    following = await claimed_one(talk)
    assert following.body == alarm(2)
    assert not await store.outbox.complete(claim)
    assert await store.outbox.complete(following)
    assert await claimed(talk) == []


async def test_only_one_of_a_claims_ends_counts(store: Subject) -> None:
    talk = await owing(store, 1)
    claim = await claimed_one(talk)
    assert await store.outbox.complete(claim)
    assert not await store.outbox.postpone(claim, retry_after_s=0.0)
    assert await claimed(talk) == []


async def test_what_ended_unstarted_leaves_nothing_that_blocks(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), SkipEvent("overtaken"))
    assert await talk.log() == []
    await talk.finish(await talk.accepted(), alarm(1))
    for _ in range(2):
        for claim in await claimed(talk):
            await store.outbox.complete(claim)
    assert await claimed(talk) == []


async def test_the_next_due_moment_is_that_of_the_earliest_unfinished_effect(store: Subject) -> None:
    async def due_in() -> timedelta:
        due = await store.outbox.next_due()
        assert due is not None
        return due - datetime.now(UTC)

    assert await store.outbox.next_due() is None
    talk = await owing(store, 1)
    assert await due_in() <= timedelta(seconds=1)
    claim = await claimed_one(talk, until_s=500.0)
    assert timedelta(seconds=400) < await due_in() < timedelta(seconds=600)
    await store.outbox.postpone(claim, retry_after_s=100.0)
    assert timedelta(seconds=50) < await due_in() < timedelta(seconds=150)
    await owing(store, 2)
    assert await due_in() <= timedelta(seconds=1)
