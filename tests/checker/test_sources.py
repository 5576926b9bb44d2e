"""The checker reads the same tables from either store, and finds nothing in what a store made by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.checker.check import violations
from tests.checker.history import Tables, Timer
from tests.checker.sources import tables_of_memory, tables_of_postgres
from tests.contracts.conversation import Conversation, replica_of, said, state_at
from tests.contracts.subjects import MemorySubject, PostgresSubject, Subject
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.effects import ReportFailure, RequestInput, ScheduleTimer, SkipEvent
from unbroken.domain.events import InputResponse, TimerFired
from unbroken.domain.session import SessionKey

pytestmark = pytest.mark.asyncio


async def talk_of_everything(store: Subject) -> None:
    """An answer, a question, a failure, a timer that fired and one that was overtaken."""
    talk = Conversation(store, await replica_of(store, "replica"), SessionKey("ann", "demo", "thread"))
    claim = await talk.accepted(talk.new(request_id="r1"))
    await talk.superstep(claim, state_at(1))
    await talk.finish(claim, replace(said("which?", claim.run), waiting=True), RequestInput("q", 1), state=state_at(2))
    claim = await talk.accepted(talk.new(InputResponse("q", {"a": [1]}), request_id="r2"))
    await talk.finish(claim, ReportFailure("model_failed", "no", claim.run), reverts=True)
    await store.timers.schedule(talk.thread_id, "t", after_event=2, created_by="e", after_s=0, payload=None)
    claim = await talk.accepted(talk.new(TimerFired("t", 1), request_id="timer:t:1"))
    await talk.finish(claim, SkipEvent("overtaken"))
    claim = await talk.accepted(talk.new(request_id="r3"))
    await talk.finish(claim, said("yes", claim.run), ScheduleTimer(60.0))


def without_new_ids(tables: Tables) -> Tables:
    """Event ids are new in each talk, and dedupe keys are made of them."""
    return replace(
        tables,
        events=[replace(event, id="") for event in tables.events],
        effects=[replace(effect, dedupe_key=effect.dedupe_key.partition("/")[2]) for effect in tables.effects],
    )


async def test_both_stores_hold_the_same_tables_and_the_checker_passes_them(
    new_database: Callable[[int], str],
) -> None:
    memory, url = MemorySubject(), new_database(18)
    await talk_of_everything(memory)
    async with open_postgres(url) as opened:
        await talk_of_everything(PostgresSubject(opened, url))
    ours, theirs = tables_of_memory(memory), await tables_of_postgres(url)
    assert without_new_ids(ours) == without_new_ids(theirs)
    assert [len(rows) for rows in (ours.sessions, ours.events, ours.effects)] == [1, 4, 6]
    assert ours.timers == [Timer("thread", "t", 1, "fired")]
    assert ours.counts == {"thread": {"checkpoints": 2, "checkpoint_blobs": 2, "heads": 1}}
    assert [effect.status for effect in theirs.effects] == [None, None, None, "completed", None, "pending"]
    assert violations([], ours, settled=False) == violations([], theirs, settled=False) == []
