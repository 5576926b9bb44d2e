"""How a story is told: what follows what, and why; never in the words of those who talk."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import INVALID_SPAN, SpanContext, format_trace_id, get_current_span

from tests.application.scripted_agent import ScriptedAgent, echo
from tests.telemetry.observed import KEY, Replica, Told, container_of, new_store, read_to_the_end, replica
from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.memory.sessions import MemorySessions
from unbroken.adapters.memory.timers import MemoryTimers
from unbroken.adapters.telemetry import acknowledging, attempts, gauges
from unbroken.adapters.telemetry.attempts import ObservedProcessor
from unbroken.adapters.telemetry.logs import naming
from unbroken.application.log_context import worked_for
from unbroken.application.subscribe import Shown
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.errors import AgentRaised, StoreUnavailable
from unbroken.domain.events import NewEvent, UserMessage
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.ports.backlog import Backlog, Backlogs
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.turn import NodeEffect
from unbroken.entrypoints import observing

pytestmark = pytest.mark.asyncio


async def ended(at: Replica, log_index: int) -> None:
    async with asyncio.timeout(30):
        subscription = await at.service.subscribe(KEY, cursor=0)
        await read_to_the_end(subscription, log_index)
        subscription.close()


async def told_of(told: Told, name: str, count: int = 1) -> list[ReadableSpan]:
    async with asyncio.timeout(30):
        while len(told.spans(name)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return told.spans(name)


def about(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {})[name]


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    own: int = span.context.span_id
    return own


async def test_a_second_try_links_to_the_first_and_says_what_ended_it() -> None:
    told, tries = Told(), 0

    async def fails_once(attempt: Attempt) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise AgentRaised("elderberry", retryable=True)
        return await echo(attempt)

    async with replica(told, new_store()) as at:
        at.agent.script = fails_once
        await at.service.accept(KEY, "r", UserMessage("hello"))
        await ended(at, 1)
        first, second = await told_of(told, "process events", 2)
    assert (about(first, "unbroken.outcome"), about(first, "error.type")) == ("model_failed", "model_failed")
    assert linked(second) == [id_of(first)]
    commit = told.span("commit end")
    assert commit.parent is not None
    assert (commit.parent.span_id, linked(commit)) == (id_of(second), []), "what is right below it needs no link"
    assert dict(second.links[0].attributes or {})["unbroken.attempt.reason"] == "model_failed"
    assert "unbroken.attempt.reconstructed" not in (first.attributes or {})
    assert len(told.spans("process events")) == 2, "nobody tells of an attempt in another's place that told of itself"
    assert not [span for span in told.spans() if "elderberry" in span.to_json()]
    reasons = {dict(labels)["unbroken.attempt.reason"] for labels in told.points("unbroken.attempts")}
    assert reasons == {"first", "model_failed"}


async def test_a_story_begins_anew_where_a_timer_fires_and_links_to_the_commit_that_set_it() -> None:
    told = Told()
    async with replica(told, new_store()) as at:
        at.agent.effects = (NodeEffect(ScheduleTimer(0.05, timer_id="t"), "agent", 1, 0),)
        await at.service.accept(KEY, "r", UserMessage("wake me"))
        await told_of(told, "commit end")
        at.agent.effects = ()
        await ended(at, 2)
        _, fired = await told_of(told, "accept events", 2)
        (executed,) = await told_of(told, "execute schedule_timer")
    first_commit = told.spans("commit end")[0]
    assert fired.parent is None
    assert linked(fired) == [id_of(first_commit)]
    assert linked(executed) == [id_of(first_commit)]
    stories = {span.context.trace_id for span in told.spans("process events") if span.context}
    assert len(stories) == 2
    assert about(executed, "unbroken.outcome") == "completed"


async def test_what_is_acknowledged_is_told_once_below_its_delivery() -> None:
    told = Told()
    async with replica(told, new_store()) as at:
        await at.service.accept(KEY, "r", UserMessage("hello"))
        first, second = [await at.service.subscribe(KEY, cursor=0) for _ in range(2)]
        await asyncio.gather(read_to_the_end(first, 1), read_to_the_end(second, 1))
        at.service.acknowledge.acked(KEY, 1)
        (acknowledged,) = await told_of(told, "acknowledge log")
        at.service.acknowledge.acked(KEY, 1)
        await at.service.acknowledge.flush()
        first.close()
        second.close()
    deliveries = told.spans("deliver send_message")
    assert len(deliveries) == 2
    assert about(acknowledged, "unbroken.log_index") == 1
    assert acknowledged.parent is not None
    assert acknowledged.parent.span_id in [id_of(span) for span in deliveries]
    assert len(told.spans("acknowledge log")) == 1
    assert list(told.points("unbroken.acknowledgements").values()) == [1]
    assert list(told.points("unbroken.sockets").values()) == [0]


async def test_a_reader_that_leaves_before_it_was_written_to_was_delivered_nothing() -> None:
    told = Told()
    async with replica(told, new_store()) as at:
        await at.service.accept(KEY, "r", UserMessage("hello"))
        await ended(at, 1)
        gone = await at.service.subscribe(KEY, cursor=0)
        await gone.next()
        gone.close()
    lost = told.spans("deliver send_message")[-1]
    assert about(lost, "error.type") == "left"
    delivered = told.points("unbroken.deliveries")
    assert delivered == {(("unbroken.kind", "send_message"),): 1}


async def test_a_reconnect_in_mid_answer_is_a_part_of_that_answer_s_story() -> None:
    told, half, go_on = Told(), asyncio.Event(), asyncio.Event()

    async def waits(attempt: Attempt) -> str:
        attempt.text("m", "half")
        half.set()
        await go_on.wait()
        attempt.text("m", " and half")
        return "half and half"

    async with replica(told, new_store()) as at:
        at.agent.script = waits
        await at.service.accept(KEY, "r", UserMessage("hello"))
        first = await at.service.subscribe(KEY, cursor=0)
        await half.wait()
        await first.next()
        first.close()
        second = await at.service.subscribe(KEY, cursor=0, shown=Shown("r", 1, 2))
        await second.next()
        go_on.set()
        await read_to_the_end(second, 1)
        second.close()
    accepted, attempt = told.span("accept events"), told.span("process events")
    sockets, streams = told.spans("subscribe log"), told.spans("stream answer")
    assert [about(span, "unbroken.kind") for span in sockets] == ["fresh", "stream"]
    assert sockets[1].parent is not None
    assert sockets[1].parent.span_id == id_of(accepted)
    assert [about(span, "unbroken.outcome") for span in streams] == ["left", "ended"]
    assert about(streams[1], "unbroken.stream.offset") == 2
    for stream, socket in zip(streams, sockets, strict=True):
        assert linked(stream) == [id_of(attempt), id_of(socket)]


async def test_no_label_holds_an_id() -> None:
    told = Told()
    async with replica(told, new_store()) as at:
        at.agent.effects = (NodeEffect(ScheduleTimer(60.0, timer_id="t"), "agent", 1, 0),)
        await at.service.accept(KEY, "request-1", UserMessage("hello"))
        subscription = await at.service.subscribe(KEY, cursor=0)
        await read_to_the_end(subscription, 1)
        at.service.acknowledge.acked(KEY, 1)
        await told_of(told, "acknowledge log")
        subscription.close()
        await told_of(told, "execute schedule_timer")
    ids = {KEY.thread_id, KEY.user_id, "request-1", str(about(told.span("accept events"), "messaging.message.id"))}
    labels = {
        str(value)
        for name in vars(told.telemetry.instruments)
        for point in told.points(getattr(getattr(told.telemetry.instruments, name), "name", name))
        for _, value in point
    }
    assert labels
    assert not labels & ids
    assert not [span for span in told.spans() if KEY.user_id in (span.attributes or {}).values()], "nor a span a user's"


async def test_a_session_s_task_outlives_the_accept_that_began_it_and_is_no_part_of_it() -> None:
    told, found = Told(), list[tuple[bool, object]]()

    class Watched(MemorySessions):
        async def claim(self, thread_id: str, *, replica: int, because: str | None = None) -> Claim | None:
            found.append((get_current_span().get_span_context().is_valid, worked_for().get("trace_id")))
            return await super().claim(thread_id, replica=replica, because=because)

    async def fails_once(attempt: Attempt) -> str:
        if attempt.claim.tries == 1:
            raise AgentRaised("no", retryable=True)
        return await echo(attempt)

    store = new_store()
    store.sessions = Watched(store.database, SystemClock())
    async with replica(told, store) as at:
        at.agent.script = fails_once
        await at.service.accept(KEY, "r", UserMessage("hello"))
        await ended(at, 1)
    assert found
    assert set(found) == {(False, None)}


async def test_what_is_logged_while_an_effect_is_executed_names_the_story_that_owed_it() -> None:
    told, found = Told(), list[object]()

    class Failing(MemoryTimers):
        async def schedule(self, *arguments: Any, **named: Any) -> None:
            found.append(worked_for().get("trace_id"))
            raise ValueError("no such place")

    store = new_store()
    store.timers = Failing(store.database, SystemClock())
    async with replica(told, store) as at:
        at.agent.effects = (NodeEffect(ScheduleTimer(60.0, timer_id="t"), "agent", 1, 0),)
        await at.service.accept(KEY, "r", UserMessage("hello"))
        (executed, *_) = await told_of(told, "execute schedule_timer")
    accepted = told.span("accept events").context
    assert accepted is not None
    assert set(found) == {format_trace_id(accepted.trace_id)}
    assert about(executed, "unbroken.outcome") == "retried"


async def test_an_effect_that_nobody_traced_is_executed_without_a_story() -> None:
    with naming(INVALID_SPAN):
        assert worked_for() == {}


async def test_messages_given_up_for_good_are_counted_from_nought() -> None:
    """What wakes people sees a rise only: of a count that begins at one it would see none."""
    told, store = Told(), new_store()
    assert told.points("unbroken.poisoned") == {(): 0}
    former = await store.replicas.join("former", lease_ttl_s=60.0)
    await store.event_store.accept(KEY, NewEvent("e", "r", UserMessage("hello")), replica=former.id, queue_limit=9)
    for _ in range(9):
        assert await store.sessions.claim(KEY.thread_id, replica=former.id)
    await store.replicas.leave(former.id)
    async with replica(told, store) as at:
        await ended(at, 1)
        await at.service.accept(KEY, "r2", UserMessage("hello"))
        await ended(at, 2)
    assert told.points("unbroken.poisoned") == {(): 1}


async def test_a_reason_is_known_of_the_attempt_right_before_alone_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, store = Told(), new_store()
    container = container_of(
        store, ScriptedAgent(store.checkpoints), (await store.replicas.join("a", lease_ttl_s=9)).id
    )
    observing.observe(container, told.telemetry)
    processor = container.processor()
    assert isinstance(processor, ObservedProcessor)
    new = NewEvent("e", "r", UserMessage("hello"))
    first = (await store.event_store.accept(KEY, new, replica=1, queue_limit=9)).claim
    assert first is not None
    second, third = (replace(first, run=run, tries=run, taken_over=run == 3) for run in (2, 3))
    processor._remember(first, "model_failed")
    assert processor._reason(second) == "model_failed"
    processor._remember(first, "model_failed")
    assert processor._reason(third) == "takeover", "another replica's attempt came between"
    monkeypatch.setattr(attempts, "REMEMBERED", 1)
    processor._remember(first, "model_failed")
    processor._remember(replace(first, key=SessionKey("ann", "demo", "t2")), "timed_out")
    assert processor._reason(second) == "lost_sight"


async def test_deliveries_that_nobody_acknowledges_are_not_awaited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledging, "SESSIONS", 2)
    written = acknowledging.Written()
    span = INVALID_SPAN.get_span_context()
    for thread in ("a", "b", "c"):
        for log_index in range(1, acknowledging.ENTRIES + 2):
            written.add(thread, log_index, span)
    found = {thread: [index for index, _ in written.take(thread, 99)] for thread in ("a", "b", "c")}
    last = list(range(2, acknowledging.ENTRIES + 2))
    assert found == {"a": [], "b": last, "c": last}


async def test_an_acknowledgement_is_told_below_the_first_delivery() -> None:
    written = acknowledging.Written()
    first, second = (SpanContext(1, span_id, is_remote=False) for span_id in (1, 2))
    written.add("t", 1, first)
    written.add("t", 1, second)
    assert written.take("t", 1) == [(1, first)]
    assert written.take("t", 1) == []


async def test_while_the_store_does_not_answer_nothing_is_said_of_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "LOOK_S", 0.0)
    told, answers = Told(), asyncio.Event()
    answers.set()

    class Flaky(Backlogs):
        async def measure(self, *, replica: int) -> Backlog:
            if not answers.is_set():
                raise StoreUnavailable("no")
            return Backlog(3, 9.0, 0, 0, 0, 5.0)

    watch = gauges.Gauges(told.telemetry.meter, Flaky(), replica=1, lease_ttl_s=10.0, pool=None, abandoned=lambda: 0)
    looking = asyncio.create_task(watch.forever())
    async with asyncio.timeout(30):
        while not told.points("unbroken.queue.depth"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert told.points("unbroken.queue.depth") == {(): 3}
        answers.clear()
        while told.points("unbroken.queue.depth"):  # noqa: ASYNC110
            await asyncio.sleep(0)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
