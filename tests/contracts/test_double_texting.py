"""Accepting while the session is busy: waiting, refused, or with a mark on everything before, all or nothing."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import Conversation
from tests.contracts.subjects import Subject
from unbroken.domain.effects import CancelTurn
from unbroken.domain.errors import Busy, CancelRequested, QueueFull, Unavailable
from unbroken.domain.events import WhenBusy
from unbroken.domain.ports.controls import Mark
from unbroken.domain.ports.event_store import Receipt

pytestmark = pytest.mark.asyncio(loop_scope="session")

PUSHES = pytest.mark.parametrize(
    ("when_busy", "kind"), [(WhenBusy.INTERRUPT, "cancel"), (WhenBusy.ROLLBACK, "rollback")]
)


async def test_a_rejected_message_is_not_stored_and_may_come_again_when_the_session_is_idle(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    new = talk.new()
    with pytest.raises(Busy):
        await talk.accept(new, when_busy=WhenBusy.REJECT)
    assert len((await talk.view()).pending) == 1
    await talk.finish(claim)
    assert (await talk.accept(new, when_busy=WhenBusy.REJECT)).claim is not None


async def test_a_repeat_of_what_was_accepted_is_no_second_text(store: Subject) -> None:
    talk = await Conversation.begin(store)
    new = talk.new()
    await talk.accept(new)
    for when_busy in WhenBusy:
        receipt = await talk.accept(new, when_busy=when_busy)
        assert (receipt.duplicate, receipt.event.seq) == (True, 1)
    assert await talk.marks() == []


@PUSHES
async def test_everything_unfinished_is_marked_together_with_the_accept(
    store: Subject, when_busy: WhenBusy, kind: str
) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.accept()
    await talk.accept(when_busy=when_busy)
    assert await talk.marks() == [Mark(talk.thread_id, 1, kind)]  # type: ignore[arg-type]
    with pytest.raises(CancelRequested) as refusal:
        await talk.finish(claim)
    assert refusal.value.kind == kind
    second = (await talk.finish(claim, CancelTurn("", 1), cancels=True)).next
    assert second is not None
    assert second.cancel == kind
    third = (await talk.finish(second, CancelTurn("", 2), cancels=True)).next
    assert third is not None
    assert third.cancel is None, "a message does not push itself aside"
    await talk.finish(third)


@PUSHES
async def test_a_message_that_is_refused_pushes_nothing_aside(store: Subject, when_busy: WhenBusy, kind: str) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    with pytest.raises(QueueFull):
        await talk.accept(when_busy=when_busy, queue_limit=1)
    async with store.commits_fail():
        with pytest.raises(Unavailable):
            await talk.accept(when_busy=when_busy)
    assert await talk.marks() == []
    await talk.finish(claim)


async def test_the_first_mark_stands(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.cancel(claim.event.request_id)
    await talk.accept(when_busy=WhenBusy.ROLLBACK)
    assert await talk.marks() == [Mark(talk.thread_id, 1, "cancel")]
    assert (await talk.cancel(claim.event.request_id)).kind == "cancel"


async def test_an_interrupting_message_on_an_idle_session_is_just_accepted(store: Subject) -> None:
    talk = await Conversation.begin(store)
    receipt = await talk.accept(when_busy=WhenBusy.INTERRUPT)
    assert receipt.claim is not None
    assert receipt.claim.cancel is None
    await talk.finish(receipt.claim)


async def test_an_interrupting_message_racing_a_finish_leaves_each_event_one_end(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for _ in range(10):
        claim = await talk.accepted()
        receipt, finished = await asyncio.gather(
            talk.accept(when_busy=WhenBusy.INTERRUPT), talk.finish(claim), return_exceptions=True
        )
        assert isinstance(receipt, Receipt)
        if isinstance(finished, BaseException):
            assert isinstance(finished, CancelRequested)
            following = (await talk.finish(claim, CancelTurn("", claim.run), cancels=True)).next
        else:
            following = finished.next or receipt.claim or await talk.claim()
        assert following is not None
        assert (following.event.seq, following.cancel) == (receipt.event.seq, None)
        await talk.finish(following)
