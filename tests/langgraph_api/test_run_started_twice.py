"""A run that is asked for again at once: by a front end that retries, or by two of its tabs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from unbroken.domain.effects import CancelTurn, LogEntry
from unbroken.domain.events import Event, RunStart
from unbroken.domain.ports.event_store import Receipt
from unbroken.domain.ports.identity import User
from unbroken.domain.runs import Run, RunState
from unbroken.entrypoints.langgraph_api import run_responses
from unbroken.entrypoints.langgraph_api.assistants import Served
from unbroken.entrypoints.langgraph_api.graph_ids import assistant_id_of
from unbroken.entrypoints.langgraph_api.permissions import anything
from unbroken.entrypoints.langgraph_api.run_bodies import Asked
from unbroken.entrypoints.langgraph_api.run_responses import RunResponses
from unbroken.entrypoints.web.open_connections import OpenConnections

AT = datetime(2026, 1, 2, tzinfo=UTC)


class Ended:
    """What a service says of a run that was accepted under the same id before, and has ended since."""

    stopping = False
    agents = assistants = None

    def __init__(self) -> None:
        self.event = Event(1, "run", "run", RunStart(rich=True), AT)
        self.runs = self.outbox = self

    async def accept(self, *_: Any, **__: Any) -> Receipt:
        return Receipt(self.event, duplicate=True, claim=None)

    async def subscribe(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(next=asyncio.Event().wait, close=lambda: None)

    async def get(self, _: str, thread_id: str, run_id: str) -> Run:
        return Run(run_id, thread_id, "one", 1, "run", self.event.body, AT, RunState.CANCELLED, attempt=1, log_index=1)

    async def read(self, *_: Any, **__: Any) -> list[LogEntry]:
        return [LogEntry(1, self.event, CancelTurn("", 1))]


@pytest.mark.asyncio
async def test_who_asks_for_a_run_that_ended_meanwhile_is_told_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def served(*_: Any) -> Served:
        return Served(assistant_id_of("one"), "one")

    async def allowed(*_: Any, **__: Any) -> None:
        return

    monkeypatch.setattr(run_responses, "served", served)
    monkeypatch.setattr(RunResponses, "_allow", allowed)
    limits: Any = SimpleNamespace(opened=lambda _: None, closed=lambda _: None)
    service: Any = Ended()
    responses = RunResponses(service, limits, anything, OpenConnections(service))
    started, followed = await responses.begun(User("ann"), "t", Asked("one"), "run")
    end = asyncio.create_task(followed.end(started.event))
    for _ in range(100):
        await asyncio.sleep(0)
    assert end.cancel() is False, "it waits for news of a run that has none"
