"""Many finishes at once: whatever befalls one of them, its neighbours end as if they were alone."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import Conversation, after_turns, replica_of, said, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.errors import CancelRequested, Fenced, InvalidValue
from unbroken.domain.session import Claim
from unbroken.domain.turn import Committed

pytestmark = pytest.mark.asyncio(loop_scope="session")

Pair = tuple[Conversation, Claim]


async def claimed(store: Subject, count: int) -> list[Pair]:
    replica = await replica_of(store)
    talks = [Conversation(store, replica) for _ in range(count)]
    return [(talk, await talk.accepted()) for talk in talks]


async def finish(pair: Pair, *, turns: int = 0, text: str = "") -> Committed:
    talk, claim = pair
    return await after_turns(turns, talk.finish(claim, said(text or f"to {talk.thread_id}"), state=state_at(1)))


async def assert_answered(talk: Conversation) -> None:
    view = await talk.view()
    assert (view.applied_seq, view.log_index, view.pending) == (1, 1, ())
    assert await talk.log() == [(1, f"to {talk.thread_id}")]
    assert await talk.head() == state_at(1).heads[0][1]


async def assert_unanswered(talk: Conversation) -> None:
    view = await talk.view()
    assert (view.applied_seq, view.log_index, len(view.pending)) == (0, 0, 1)
    assert (await talk.log(), await talk.head()) == ([], None)


@pytest.mark.parametrize("apart", [0, 1, 3])
async def test_each_of_a_crowd_ends_with_what_is_its_own(store: Subject, apart: int) -> None:
    crowd = await claimed(store, 40)
    for talk, _ in crowd[::2]:
        await talk.accept()
    ends = await asyncio.gather(*(finish(pair, turns=apart * number) for number, pair in enumerate(crowd)))
    for number, ((talk, claim), end) in enumerate(zip(crowd, ends, strict=True)):
        assert [(entry.log_index, entry.event) for entry in end.entries] == [(1, claim.event)]
        assert await talk.log() == [(1, f"to {talk.thread_id}")]
        if number % 2:
            assert end.next is None
        else:
            assert end.next is not None
            assert (end.next.key, end.next.event.seq, end.next.run, end.next.tries) == (talk.key, 2, 2, 1)
            assert end.next.head == await talk.head() == state_at(1).heads[0][1]


@pytest.mark.parametrize("place", [0, 1, 5, 11])
async def test_one_in_trouble_hears_of_it_and_nobody_else_does(store: Subject, place: int) -> None:
    for trouble in (Fenced, CancelRequested, InvalidValue):
        crowd = await claimed(store, 12)
        talk, claim = crowd[place]
        text = ""
        if trouble is Fenced:
            assert await talk.claim() is not None
        elif trouble is CancelRequested:
            await talk.cancel(claim.event.request_id)
        else:
            text = "\x00"
        ends: list[object] = await asyncio.gather(
            *(finish(pair, text=text if pair[0] is talk else "") for pair in crowd), return_exceptions=True
        )
        assert type(ends[place]) is trouble
        assert [isinstance(end, Committed) for end in ends] == [number != place for number in range(12)]
        for other, _ in crowd:
            await (assert_unanswered(other) if other is talk else assert_answered(other))


@pytest.mark.parametrize("after", range(12))
async def test_each_of_a_crowd_that_is_cancelled_is_committed_whole_or_not_at_all(store: Subject, after: int) -> None:
    crowd = await claimed(store, 12)
    tasks = [asyncio.ensure_future(finish(pair)) for pair in crowd]
    for _ in range(after):
        await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for number, (task, (talk, _)) in enumerate(zip(tasks, crowd, strict=True)):
        if number % 3:
            assert isinstance(task.result(), Committed)
            await assert_answered(talk)
        elif await talk.claim() is None:  # waits for the session, so for a commit that is under way
            await assert_answered(talk)
        else:
            await assert_unanswered(talk)
