"""LangGraph's own conformance suite, over the saver that turns use, flushed by a turn's unit of work."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from tests.langgraph.driving import Store
from unbroken.adapters.langgraph.write_through import WriteThroughSaver
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.events import NewEvent, UserMessage
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.turn import TurnChange

pytestmark = pytest.mark.asyncio


class TurnFlush:
    """Commits each change as a superstep of the thread's one event: fenced, like a turn's."""

    def __init__(self, store: Store, replica: int) -> None:
        self._store = store
        self._replica = replica
        self._claims: dict[str, Claim] = {}

    async def __call__(self, thread_id: str, change: StateChange) -> None:
        if thread_id not in self._claims:
            event = NewEvent(f"event-{uuid4().hex}", "request", UserMessage("hello"))
            key = SessionKey("ann", "demo", thread_id)
            receipt = await self._store.event_store.accept(key, event, replica=self._replica, queue_limit=10)
            assert receipt.claim is not None
            self._claims[thread_id] = receipt.claim
        await self._store.unit_of_work.commit(TurnChange(self._claims[thread_id], change, finishes=False))


@pytest.mark.parametrize("flushed_by", ["unit_of_work", "checkpoints"])
async def test_the_saver_conforms_in_full(store: Store, flushed_by: str) -> None:
    replica = await store.replicas.join("conformance", lease_ttl_s=600)
    flush = TurnFlush(store, replica.id) if flushed_by == "unit_of_work" else None

    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        yield WriteThroughSaver(store.checkpoints, store.checkpoint_upkeep, flush=flush)

    report = await validate(checkpointer_test(name=f"staging-{flushed_by}")(saver))
    failures = {name: result.failures for name, result in report.results.items() if not result.passed}
    assert not failures
    assert report.passed_all()
    assert len(report.results) == 8
    assert all(result.tests_passed for result in report.results.values())
