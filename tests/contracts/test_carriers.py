"""What tells a story's next part of the part before it is stored with what is owed, and comes back with it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import PLENTY, Conversation, owed, said
from tests.contracts.subjects import Subject
from tests.contracts.test_timers import due, schedule
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.session import Claim
from unbroken.domain.turn import Committed, TurnChange

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORY = "4bf92f3577b34da6a3ce929d0e0e4736"
EVENT = {"traceparent": f"00-{STORY}-00f067aa0ba902b7-01"}
COMMIT = {"traceparent": f"00-{STORY}-00f067aa0ba902b8-01", "tracestate": "a=b"}


async def accepted(talk: Conversation) -> Claim:
    return await talk.accepted(replace(talk.new(), trace_context=EVENT))


async def finish(talk: Conversation, claim: Claim, carrier: dict[str, str]) -> Committed:
    effects = owed(claim, said("done"), ScheduleTimer(0.0, timer_id="t"))
    return await talk.store.unit_of_work.commit(TurnChange(claim, StateChange(), True, effects, trace_context=carrier))


@pytest.mark.parametrize("carrier", [COMMIT, {}], ids=["commit", "event"])
async def test_effects_carry_their_commit_s_context_or_else_one_of_their_event_s_story(
    store: Subject, carrier: dict[str, str]
) -> None:
    talk = await Conversation.begin(store)
    committed = await finish(talk, await accepted(talk), carrier)
    entries = await store.outbox.read(talk.thread_id, after=0, limit=PLENTY)
    assert list(committed.entries) == list(entries)
    (entry,) = entries
    carried = entry.trace_context
    assert entry.event.trace_context == EVENT
    assert carried["traceparent"].split("-")[1] == STORY
    if carrier:
        assert carried == carrier
    claims = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=60.0)
    assert [claim.trace_context for claim in claims if claim.thread_id == talk.thread_id] == [carried]


async def test_a_due_timer_carries_the_context_of_the_commit_that_set_it_last(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await accepted(talk)
    await finish(talk, claim, COMMIT)
    (effect,) = [
        effect
        for effect in await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=60.0)
        if effect.thread_id == talk.thread_id
    ]
    await schedule(talk, by="something that was no effect")
    assert [timer.trace_context for timer in await due(talk)] == [{}]
    await schedule(talk, by=effect.dedupe_key)
    assert [(timer.generation, timer.trace_context) for timer in await due(talk)] == [(2, COMMIT)]
