"""Timers: at most once, and never after the accept that cancelled them (I10)."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import PLENTY, Conversation, after_turns, unique
from tests.contracts.subjects import Subject
from unbroken.domain.errors import TimerGone
from unbroken.domain.events import InputResponse, NewEvent, TimerFired, UserMessage
from unbroken.domain.ports.event_store import Receipt
from unbroken.domain.ports.timers import DueTimer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def at_rest(store: Subject) -> Conversation:
    """A session whose event 1 is finished."""
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    return talk


async def schedule(
    talk: Conversation, timer_id: str = "t", *, by: str = "effect", after_event: int = 1, after_s: float = 0.0
) -> None:
    await talk.store.timers.schedule(
        talk.thread_id, timer_id, after_event=after_event, created_by=by, after_s=after_s, payload={"by": by}
    )


async def due(talk: Conversation) -> list[DueTimer]:
    return [timer for timer in await talk.store.timers.due(limit=PLENTY) if timer.key == talk.key]


def fired(timer: DueTimer) -> NewEvent:
    body = TimerFired(timer.timer_id, timer.generation, timer.payload)
    return NewEvent(unique("event"), f"timer:{timer.timer_id}:{timer.generation}", body)


async def test_a_due_timer_carries_all_that_its_event_needs(store: Subject) -> None:
    talk = await at_rest(store)
    await schedule(talk)
    assert await due(talk) == [DueTimer(talk.key, "t", 1, {"by": "effect"})]
    receipt = await talk.accept(fired(*await due(talk)))
    assert receipt.event.body == TimerFired("t", 1, {"by": "effect"})
    assert receipt.claim is not None
    assert await due(talk) == []


async def test_a_timer_is_not_due_before_its_time(store: Subject) -> None:
    talk = await at_rest(store)
    await schedule(talk, after_s=60.0)
    assert await due(talk) == []


async def test_due_timers_come_oldest_first_and_limited(store: Subject) -> None:
    talk = await at_rest(store)
    for number in range(4):
        await schedule(talk, f"t{number}", by=f"e{number}")
    assert [timer.timer_id for timer in await due(talk)] == ["t0", "t1", "t2", "t3"]
    assert len(await store.timers.due(limit=3)) == 3


async def test_setting_a_timer_again_by_the_same_effect_changes_nothing(store: Subject) -> None:
    talk = await at_rest(store)
    await schedule(talk, after_s=60.0)
    await schedule(talk, after_s=0.0)
    assert await due(talk) == []
    await schedule(talk, "other", by="e2")
    (timer,) = await due(talk)
    await talk.accept(fired(timer))
    await schedule(talk, "other", by="e2")
    assert await due(talk) == [], "a timer that fired was revived by a repeat"


async def test_another_effect_sets_the_timer_anew_under_the_next_generation(store: Subject) -> None:
    talk = await at_rest(store)
    await schedule(talk, by="first")
    (old,) = await due(talk)
    await schedule(talk, by="second")
    assert await due(talk) == [DueTimer(talk.key, "t", 2, {"by": "second"})]
    with pytest.raises(TimerGone):
        await talk.accept(fired(old))
    assert (await talk.accept(fired(*await due(talk)))).event.seq == 2, "the refused promotion left a gap"


async def test_a_late_repeat_of_an_earlier_setting_changes_nothing(store: Subject) -> None:
    talk = await at_rest(store)
    await schedule(talk, by="first")
    await schedule(talk, by="second", after_s=60.0)
    await schedule(talk, by="first")
    assert await due(talk) == [], "a stalled executor undid what a later effect had set"


@pytest.mark.parametrize("body", [UserMessage("I am back"), InputResponse("q", "yes")])
async def test_a_users_event_cancels_every_pending_timer_of_its_session(
    store: Subject, body: UserMessage | InputResponse
) -> None:
    talk, bystander = await at_rest(store), await at_rest(store)
    for conversation in (talk, bystander):
        await schedule(conversation, "soon")
        await schedule(conversation, "late", by="e2", after_s=60.0)
    (timer,) = await due(talk)
    await talk.accept(talk.new(body))
    assert await due(talk) == []
    with pytest.raises(TimerGone):
        await talk.accept(fired(timer))
    assert len(await due(bystander)) == 1


async def test_a_repeated_message_cancels_nothing_that_was_set_since(store: Subject) -> None:
    talk = await Conversation.begin(store)
    new = talk.new()
    await talk.finish(await talk.accepted(new))
    await schedule(talk)
    assert (await talk.accept(new)).duplicate
    assert len(await due(talk)) == 1


async def test_a_timer_that_fires_cancels_no_other(store: Subject) -> None:
    talk = await at_rest(store)
    await schedule(talk, "a", by="e1")
    await schedule(talk, "b", by="e2")
    first, _ = await due(talk)
    await talk.accept(fired(first))
    assert [timer.timer_id for timer in await due(talk)] == ["b"]


async def test_a_timer_set_after_the_user_has_spoken_again_never_fires(store: Subject) -> None:
    talk = await at_rest(store)
    await talk.accept(talk.new(UserMessage("too quick")))
    await schedule(talk, after_event=1)
    assert await due(talk) == []
    with pytest.raises(TimerGone):
        await talk.accept(fired(DueTimer(talk.key, "t", 1, None)))
    await schedule(talk, by="later", after_event=2)
    assert [timer.generation for timer in await due(talk)] == [2]


async def test_only_users_overtake_timers(store: Subject) -> None:
    talk = await at_rest(store)
    await schedule(talk, "a", by="e1")
    (timer,) = await due(talk)
    claim = (await talk.accept(fired(timer))).claim
    assert claim is not None
    await schedule(talk, "b", by="e2", after_event=1)
    (timer,) = await due(talk)
    await talk.accept(fired(timer))
    again = await talk.claim()
    assert again is not None
    assert not again.superseded


async def test_a_timer_that_never_was_cannot_fire(store: Subject) -> None:
    talk = await at_rest(store)
    with pytest.raises(TimerGone):
        await talk.accept(fired(DueTimer(talk.key, "unknown", 1, None)))
    assert (await talk.accept()).event.seq == 2


async def test_a_timer_set_while_the_user_speaks_never_fires(store: Subject) -> None:
    talks = [await at_rest(store) for _ in range(8)]
    for round_ in range(6):
        seq = (await talks[0].view()).applied_seq
        calls = [
            call
            for place, talk in enumerate(talks)
            for call in (
                schedule(talk, by=f"effect {round_}", after_event=seq),
                after_turns(2 * place, talk.accepted(talk.new(UserMessage("hi")))),
            )
        ]
        claims = [claim for claim in await asyncio.gather(*calls) if claim is not None]
        assert [await due(talk) for talk in talks] == [[]] * len(talks)
        await asyncio.gather(*(talk.finish(claim) for talk, claim in zip(talks, claims, strict=True)))


async def test_of_racing_promotions_one_becomes_the_event(store: Subject) -> None:
    for _ in range(5):
        talk = await at_rest(store)
        await schedule(talk)
        (timer,) = await due(talk)
        receipts = await asyncio.gather(*(talk.accept(fired(timer)) for _ in range(8)))
        assert sorted(receipt.duplicate for receipt in receipts) == [False] + [True] * 7
        assert [event.seq for event in (await talk.view()).pending] == [2]


async def test_a_promotion_under_another_request_id_fires_nothing(store: Subject) -> None:
    talk = await at_rest(store)
    await schedule(talk)
    (timer,) = await due(talk)
    await talk.accept(fired(timer))
    with pytest.raises(TimerGone):
        await talk.accept(talk.new(fired(timer).body))
    assert (await talk.accept()).event.seq == 3, "the refused promotion left a gap"


async def test_a_timer_that_meets_a_users_message_fires_before_it_or_never(store: Subject) -> None:
    for _ in range(10):
        talk = await at_rest(store)
        await schedule(talk)
        (timer,) = await due(talk)
        promotion, message = await asyncio.gather(
            talk.accept(fired(timer)), talk.accept(talk.new(UserMessage("hi"))), return_exceptions=True
        )
        assert isinstance(message, Receipt)
        if isinstance(promotion, Receipt):
            assert promotion.event.seq < message.event.seq
        else:
            assert isinstance(promotion, TimerGone)
        assert [event.seq for event in (await talk.view()).pending] in ([2], [2, 3])
        assert await due(talk) == []


async def test_the_next_due_moment_is_that_of_the_earliest_pending_timer(store: Subject) -> None:
    async def due_in() -> float:
        seconds = await store.timers.next_due_s()
        assert seconds is not None
        return seconds

    assert await store.timers.next_due_s() is None
    talk = await at_rest(store)
    await schedule(talk, "late", by="e1", after_s=500.0)
    assert 400.0 < await due_in() < 500.0
    await schedule(talk, "soon", by="e2")
    assert await due_in() <= 0.0
    await talk.accept(fired(*await due(talk)))
    assert 400.0 < await due_in() < 500.0
    await talk.accept(talk.new(UserMessage("hi")))
    assert await store.timers.next_due_s() is None
