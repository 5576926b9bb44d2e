"""What a reader of a thread keeps of the runs that it follows."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from unbroken.application.deliveries import ShowLogged, ShowReset, ShowStep, ShowUser
from unbroken.domain.effects import CancelTurn, CloseQuestion, LogEntry
from unbroken.domain.errors import ThreadDeleted
from unbroken.domain.events import Event, EventBody, RunStart, StateUpdate
from unbroken.domain.runs import Run, RunState
from unbroken.domain.session import SessionKey
from unbroken.domain.stream_parts import StepPart
from unbroken.entrypoints.langgraph_api.run_events import RunEvent, RunEvents
from unbroken.entrypoints.langgraph_api.run_following import End, FollowedRun
from unbroken.entrypoints.langgraph_api.thread_following import FollowedThread


def accepted(seq: int, body: EventBody) -> Event:
    return Event(seq, f"run-{seq}", f"request-{seq}", body, datetime(2026, 1, 2, tzinfo=UTC))


def followed(*batches: list[Any]) -> Any:
    coming = [*batches, None]

    async def following() -> Any:
        return coming.pop(0)

    async def end_in(entries: list[LogEntry], run_id: str) -> End | None:
        ends = [entry.body for entry in entries if isinstance(entry.body, CancelTurn) and entry.event.id == run_id]
        return End(ends[0], ()) if ends else None

    async def told(view: RunEvents, _: str, end: End) -> list[RunEvent]:
        return view.ends(end.body, end.questions, b"{}" if view.wants_end(end.body) else None)

    async def ended(_: str) -> End:
        return End(CancelTurn("", 1), ())

    return SimpleNamespace(next=following, end_in=end_in, told=told, ended=ended)


@pytest.mark.asyncio
async def test_nothing_is_kept_of_what_ended_without_a_word_in_the_log() -> None:
    run = accepted(100, RunStart(rich=True))
    changes = [ShowUser(accepted(seq, StateUpdate({}))) for seq in range(1, 100)]
    end = ShowLogged(LogEntry(1, run, CancelTurn("", 1)))
    thread = FollowedThread(followed([*changes, ShowUser(run), end]), ["run_modes"])
    told: list[RunEvent] = [event for events in [made async for made in thread.events(())] for event in events]
    assert told[-1].event == "metadata"
    assert thread._views == {}


@pytest.mark.asyncio
async def test_a_run_s_end_is_told_once_although_its_log_comes_in_two_pieces() -> None:
    run = accepted(1, RunStart(rich=True))
    closed = ShowLogged(LogEntry(1, run, CloseQuestion("q:0", "answered")))
    end = ShowLogged(LogEntry(2, run, CancelTurn("", 1)))
    thread = FollowedThread(followed([ShowUser(run), closed], [end]), ["run_modes"])
    made = [[event.event for event in events] async for events in thread.events(())]
    assert made == [["values", "metadata"]]


@pytest.mark.asyncio
async def test_a_run_that_ended_while_its_reader_came_is_told_once() -> None:
    run = accepted(1, RunStart(rich=True))
    stored = Run(
        id=run.id,
        thread_id="t",
        agent_id="a",
        seq=1,
        request_id=run.request_id,
        body=run.body,
        created_at=run.created_at,
        state=RunState.CANCELLED,
    )
    shown = [ShowUser(run), ShowReset(run.request_id, 1, "started")]
    thread = FollowedThread(followed([*shown, ShowLogged(LogEntry(1, run, CancelTurn("", 1)))]), ["run_modes"])
    made = [[event.event for event in events] async for events in thread.events([stored])]
    assert made == [["values", "metadata"]]


@pytest.mark.asyncio
async def test_a_thread_s_follower_is_told_no_more_of_its_runs_than_their_own() -> None:
    run = accepted(1, RunStart(rich=True, client={"stream_mode": ["values", "updates"]}))
    said = [("values", {"a": 1, "p": 2}), ("updates", {"node": {"a": 1, "p": 2}}), ("updates", {"node": {"p": 2}})]
    steps = [
        ShowStep(run.request_id, 1, StepPart(0, method, (), msgspec.json.encode(data)), sides)
        for sides, (method, data) in enumerate(said)
    ]
    coming: list[Any] = [[ShowUser(run), ShowReset(run.request_id, 1, "started"), *steps]]

    async def following() -> Any:
        if not coming:
            raise ThreadDeleted("t")
        return coming.pop()

    async def outputs(key: SessionKey, *, user: Any = None) -> frozenset[str]:
        return frozenset({"a"})

    service: Any = SimpleNamespace(state=SimpleNamespace(outputs=outputs))
    subscription: Any = SimpleNamespace(next=following)
    reader = FollowedRun(service, SessionKey("u", "a", "t"), subscription, joins=False)
    (told,) = [events async for events in FollowedThread(reader, ["run_modes"]).events(())]
    assert [(event.event, msgspec.json.decode(event.data)) for event in told[1:]] == [
        ("values", {"a": 1}),
        ("updates", {"node": {"a": 1}}),
        ("updates", {"node": None}),
    ]
