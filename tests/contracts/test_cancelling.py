"""Controls: a cancel that was accepted decides, and one that was not changes nothing (I9)."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import Conversation, after_turns, replica_of, said, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.effects import CancelTurn, CloseQuestion, ReportFailure
from unbroken.domain.errors import (
    AlreadyEnded,
    CancelRequested,
    Fenced,
    NotYourThread,
    ThreadDeleted,
    Unavailable,
    UnknownRequest,
)
from unbroken.domain.ports.controls import Mark

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_marked_event_can_only_end_as_cancelled(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    mark = await talk.cancel(claim.event.request_id)
    assert mark == Mark(talk.thread_id, 1, "cancel")
    for bodies in ((said("an answer"),), (ReportFailure("model_failed", "no", 1),)):
        with pytest.raises(CancelRequested) as refusal:
            await talk.finish(claim, *bodies, state=state_at(1))
        assert refusal.value.kind == "cancel"
    assert (await talk.log(), await talk.head(), (await talk.view()).applied_seq) == ([], None, 0)
    await talk.finish(claim, CancelTurn("an ans", 1), state=state_at(2), cancels=True)
    assert await talk.log() == [(1, "an ans")]
    assert await talk.head() == state_at(2).heads[0][1]


async def test_a_superstep_may_still_be_committed_under_a_mark(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.cancel(claim.event.request_id)
    await talk.superstep(claim, state_at(1))
    assert await talk.head() == state_at(1).heads[0][1]
    await talk.finish(claim, CancelTurn("", 1), reverts=True, cancels=True)
    assert await talk.head() is None


async def test_cancelling_twice_is_cancelling_once(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    marks = await asyncio.gather(*(talk.cancel(claim.event.request_id) for _ in range(5)))
    assert set(marks) == {Mark(talk.thread_id, 1, "cancel")}
    assert await talk.marks() == [marks[0]]


async def test_the_first_cancel_says_whether_the_event_is_forgotten(store: Subject) -> None:
    for first, second in (("cancel", "rollback"), ("rollback", "cancel")):
        talk = await Conversation.begin(store)
        claim = await talk.accepted()
        kinds = [(await talk.cancel(claim.event.request_id, kind=kind)).kind for kind in (first, second)]  # type: ignore[arg-type]
        assert kinds == [first, first]
        with pytest.raises(CancelRequested) as refusal:
            await talk.finish(claim)
        assert refusal.value.kind == first
        assert [mark.kind for mark in await talk.marks()] == [first]


async def test_a_cancel_after_the_end_is_refused_and_leaves_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.finish(claim)
    with pytest.raises(AlreadyEnded):
        await talk.cancel(claim.event.request_id)
    following = await talk.accepted()
    assert following.cancel is None
    assert await talk.marks() == []
    await talk.finish(following)


async def test_only_its_owner_can_cancel_a_request_and_only_one_that_is_there(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    with pytest.raises(UnknownRequest):
        await talk.cancel("no such request")
    with pytest.raises(UnknownRequest):
        await talk.cancel(claim.event.request_id, key=replace(talk.key, thread_id="no such thread"))
    for stranger in (replace(talk.key, user_id="bob"), replace(talk.key, agent_id="other")):
        for request_id in (claim.event.request_id, "no such request"):
            with pytest.raises(NotYourThread):
                await talk.cancel(request_id, key=stranger)
    await store.entomb(talk.thread_id)
    with pytest.raises(ThreadDeleted):
        await talk.cancel(claim.event.request_id)


async def test_a_waiting_event_is_claimed_with_its_mark_however_it_is_claimed(store: Subject) -> None:
    talk = await Conversation.begin(store)
    first = await talk.accepted()
    for _ in range(3):
        await talk.accept()
    second, third, fourth = (event.request_id for event in (await talk.view()).pending[1:])
    await talk.cancel(second)
    await talk.cancel(fourth)
    by_commit = (await talk.finish(first)).next
    assert by_commit is not None
    assert (by_commit.event.request_id, by_commit.cancel) == (second, "cancel")
    unmarked = (await talk.finish(by_commit, CancelTurn("", 2), cancels=True)).next
    assert unmarked is not None
    assert (unmarked.event.request_id, unmarked.cancel) == (third, None)
    await talk.finish(unmarked)
    by_claim = await talk.claim()
    assert by_claim is not None
    assert (by_claim.event.request_id, by_claim.cancel) == (fourth, "cancel")


async def test_marks_are_told_to_whoever_runs_the_event_and_to_nobody_else(store: Subject) -> None:
    talk = await Conversation.begin(store)
    stranger = await replica_of(store)
    claim = await talk.accepted()
    waiting = await talk.accept()
    await talk.cancel(waiting.event.request_id)
    assert await talk.marks() == [], "what is not run yet needs nobody to stop it"
    await talk.cancel(claim.event.request_id)
    assert await talk.marks() == [Mark(talk.thread_id, 1, "cancel")]
    assert await talk.marks(stranger) == []


async def test_a_mark_goes_with_the_end_it_asked_for(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.cancel(claim.event.request_id)
    await talk.finish(claim, CancelTurn("", 1), cancels=True)
    assert await talk.marks() == []
    claim = await talk.accepted()
    assert claim.cancel is None
    await talk.finish(claim)
    assert [body for _, body in await talk.log()] == ["", "answer 2"]


async def test_a_cancelling_end_needs_no_mark(store: Subject) -> None:
    """A skipped timer ends so: it needs no permission."""
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.finish(claim, CancelTurn("", 1), cancels=True)
    assert await talk.log() == [(1, "")]


async def test_a_fenced_cancel_writes_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.cancel(claim.event.request_id)
    again = await talk.claim()
    assert again is not None
    assert again.cancel == "cancel"
    with pytest.raises(Fenced):
        await talk.finish(claim, CancelTurn("", 1), cancels=True)
    await talk.finish(again, CancelTurn("", 2), cancels=True)


@pytest.mark.parametrize("head_start", range(6))
async def test_a_cancel_racing_a_finish_leaves_one_winner(store: Subject, head_start: int) -> None:
    talk = await Conversation.begin(store)
    for turn in range(10):
        claim = await talk.accepted()
        cancelled, finished = await asyncio.gather(
            after_turns(head_start, talk.cancel(claim.event.request_id)),
            after_turns(turn % 5, talk.finish(claim)),
            return_exceptions=True,
        )
        if isinstance(cancelled, Mark):
            assert isinstance(finished, CancelRequested)
            await talk.finish(claim, CancelTurn(f"cancelled {turn + 1}", claim.run), cancels=True)
        else:
            assert isinstance(cancelled, AlreadyEnded)
            assert not isinstance(finished, BaseException)
    log = [text for _, text in await talk.log()]
    assert len(log) == 10
    assert all(text in (f"cancelled {n}", f"answer {n}") for n, text in enumerate(log, 1))


async def test_open_questions_stand_until_a_finish_says_otherwise(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    assert claim.open_questions == ()
    await talk.finish(claim, open_questions=("a:1", "b:1"))
    claim = await talk.accepted()
    assert claim.open_questions == ("a:1", "b:1")
    await talk.accept()
    following = (await talk.finish(claim)).next
    assert following is not None
    assert following.open_questions == ("a:1", "b:1")
    with pytest.raises(Fenced):
        await talk.finish(claim, open_questions=())
    again = await talk.claim()
    assert again is not None
    assert again.open_questions == ("a:1", "b:1")
    await talk.finish(again, CloseQuestion("a:1", "answered"), open_questions=("b:1",))
    assert (await talk.accepted()).open_questions == ("b:1",)


async def test_a_cancel_that_cannot_be_committed_is_no_cancel(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    async with store.commits_fail():
        try:
            await talk.cancel(claim.event.request_id)
            accepted = True  # the fault of this store does not reach the marks
        except Unavailable:
            accepted = False
    if accepted:
        await talk.finish(claim, CancelTurn("", 1), cancels=True)
    else:
        await talk.finish(claim)
    assert len(await talk.log()) == 1
