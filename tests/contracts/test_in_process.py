"""What only the adapters inside one process have: the gate around a memory store, its clock, hints."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from tests.contracts.conversation import Conversation, checkpoint_id, replica_of, state_at
from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.in_process.wakeups import InProcessWakeups
from unbroken.adapters.memory.store import MemoryStore
from unbroken.domain.effects import SkipEvent
from unbroken.domain.errors import CommitUnknown
from unbroken.domain.ports.clock import Clock

pytestmark = pytest.mark.asyncio(loop_scope="session")


class StoppedClock(Clock):
    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


class LosingAnswers:
    """A way back from the store that loses the answer of one operation."""

    def __init__(self, operation: str) -> None:
        self.operation: str | None = operation

    async def __call__(self, stage: Literal["before", "after"], operation: str) -> None:
        await asyncio.sleep(0)
        if stage == "after" and operation == self.operation:
            self.operation = None
            raise CommitUnknown("the answer was lost")


async def test_an_accept_whose_answer_was_lost_is_found_by_asking_again() -> None:
    store = MemoryStore(SystemClock(), commit_gate=LosingAnswers("accept"))
    talk = Conversation(store, await replica_of(store))  # type: ignore[arg-type]
    new = talk.new()
    with pytest.raises(CommitUnknown):
        await talk.accept(new)
    assert (await talk.accept(new)).duplicate
    assert await talk.is_stray_for(talk.replica)


async def test_a_finish_whose_answer_was_lost_is_found_under_a_new_claim() -> None:
    store = MemoryStore(SystemClock(), commit_gate=LosingAnswers("commit"))
    talk = Conversation(store, await replica_of(store))  # type: ignore[arg-type]
    claim = await talk.accepted()
    with pytest.raises(CommitUnknown):
        await talk.finish(claim, state=state_at(1))
    assert await talk.claim() is None
    assert (await talk.head(), await talk.log()) == (checkpoint_id(1), [(1, "answer 1")])


async def test_leases_claims_and_timers_run_out_by_the_stores_clock_alone() -> None:
    clock = StoppedClock()
    store = MemoryStore(clock)
    talk = Conversation(store, await replica_of(store, lease_ttl_s=10.0))  # type: ignore[arg-type]
    other = await replica_of(store, lease_ttl_s=1_000.0)  # type: ignore[arg-type]
    claim = await talk.accepted()
    await store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e", after_s=10.0, payload=None)
    clock.at += 9.9
    assert await talk.claim(other) is None
    assert not await store.timers.due(limit=5)
    assert await store.timers.next_due_s() == pytest.approx(0.1)
    clock.at += 0.1
    assert await store.timers.due(limit=5)
    assert await talk.claim(other) is not None
    assert claim.event.created_at == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=1_000)


async def test_an_event_that_ended_unstarted_leaves_no_work() -> None:
    store = MemoryStore(SystemClock())
    talk = Conversation(store, await replica_of(store))  # type: ignore[arg-type]
    await talk.finish(await talk.accepted(), SkipEvent("overtaken"))
    assert await store.outbox.next_due() is None


async def test_a_hint_reaches_every_listener_soon_and_never_at_once() -> None:
    wakeups, heard = InProcessWakeups(), list[str]()
    wakeups.hint("nobody listens yet")
    wakeups.listen(heard.append, lambda thread_id, _: heard.append("of others"))
    wakeups.listen(lambda thread_id: heard.append(thread_id.upper()), lambda thread_id, _: heard.append("of others"))
    wakeups.hint("thread")
    assert heard == []
    await asyncio.sleep(0)
    assert heard == ["thread", "THREAD"]


async def test_the_system_clock_speaks_utc_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before
