"""What a caller holds and what the store holds are never the same object."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import PLENTY, Conversation, said, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.effects import RequestInput, ScheduleTimer, SendMessage
from unbroken.domain.events import InputResponse, TimerFired

pytestmark = pytest.mark.asyncio(loop_scope="session")


def vandalise(value: Any) -> None:
    value["kept"].append("changed")
    value["added"] = True


def precious() -> dict[str, Any]:
    return {"kept": [1, {"deep": [2]}]}


async def test_changing_an_event_after_handing_it_in_changes_nothing(store: Subject) -> None:
    talk, body = await Conversation.begin(store), InputResponse("q", precious())
    new = talk.new(body)
    receipt = await talk.accept(new)
    vandalise(body.value)
    new.trace_context["late"] = "1"
    (event,) = (await talk.view()).pending
    for kept in (event, receipt.event):
        assert (kept.body, kept.trace_context) == (InputResponse("q", precious()), {})
    assert (await talk.accept(replace(new, body=InputResponse("q", precious())))).duplicate
    assert receipt.claim is not None


async def test_changing_an_event_that_was_read_changes_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    new = talk.new(InputResponse("q", precious()))
    receipt = await talk.accept(new)
    assert receipt.claim is not None
    for event in (receipt.event, receipt.claim.event, (await talk.view()).pending[0], (await talk.accept(new)).event):
        assert isinstance(event.body, InputResponse)
        vandalise(event.body.value)
    again = await talk.claim()
    assert again is not None
    assert again.event.body == (await talk.view()).pending[0].body == InputResponse("q", precious())


async def test_changing_an_effect_on_either_side_changes_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    message: SendMessage = replace(said("yes"), content=[precious()])
    question, alarm = RequestInput("q", precious()), ScheduleTimer(60.0, precious())
    committed = await talk.finish(await talk.accepted(), message, question, alarm)
    for body in (message, committed.entries[0].body):
        assert isinstance(body, SendMessage)
        vandalise(body.content[0])
    for value in (question.value, alarm.payload):
        vandalise(value)
    first, second = await store.outbox.read(talk.thread_id, after=0, limit=PLENTY)
    assert isinstance(first.body, SendMessage)
    assert isinstance(second.body, RequestInput)
    assert (first.body.content[0], second.body.value) == (precious(), precious())
    vandalise(first.body.content[0])
    (again, _) = await store.outbox.read(talk.thread_id, after=0, limit=PLENTY)
    assert isinstance(again.body, SendMessage)
    assert again.body.content == [precious()]
    for until_s in (0.0, 60.0):
        (claim,) = [
            claim
            for claim in await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=until_s)
            if claim.thread_id == talk.thread_id
        ]
        assert isinstance(claim.body, ScheduleTimer)
        assert claim.body.payload == precious()
        vandalise(claim.body.payload)


async def test_changing_a_timers_payload_changes_nothing(store: Subject) -> None:
    talk, payload = await Conversation.begin(store), precious()
    await talk.finish(await talk.accepted())
    await store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e", after_s=0, payload=payload)
    vandalise(payload)
    for _ in range(2):
        (timer,) = [timer for timer in await store.timers.due(limit=PLENTY) if timer.key == talk.key]
        assert timer.payload == precious()
        vandalise(timer.payload)
    receipt = await talk.accept(talk.new(TimerFired("t", 1, precious())))
    assert receipt.event.body == TimerFired("t", 1, precious())


async def test_agent_state_is_kept_as_it_was_at_the_commit(store: Subject) -> None:
    talk, bytes_of_somebody = await Conversation.begin(store), bytearray(b"value")
    state = state_at(1)
    blob = replace(state.blobs[0], blob=bytes_of_somebody)
    await talk.finish(await talk.accepted(), state=replace(state, blobs=(blob,)))
    bytes_of_somebody[:] = b"other"
    stored = await store.checkpoints.load(talk.thread_id, "", None)
    assert stored is not None
    assert stored.blobs[0].blob == b"value"


async def test_values_come_back_as_json_has_them(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.accept(talk.new(InputResponse("q", {"tuple": (1, 2), "true": True, "none": None, "float": 0.5})))
    (event,) = (await talk.view()).pending
    assert event.body == InputResponse("q", {"tuple": [1, 2], "true": True, "none": None, "float": 0.5})
