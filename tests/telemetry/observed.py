"""A whole replica in memory as the container wires it, with telemetry on, and what it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.application.scripted_agent import OneAgent, ScriptedAgent
from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.in_process.lease import AlwaysHeld
from unbroken.adapters.langgraph.thread_states import GraphStates
from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.telemetry.attempts import Belonging
from unbroken.adapters.telemetry.identity import StoryIds
from unbroken.adapters.telemetry.telemetry import Telemetry
from unbroken.application.subscribe import Subscription
from unbroken.domain.session import SessionKey
from unbroken.entrypoints import observing
from unbroken.entrypoints.container import Container
from unbroken.entrypoints.service import Service, serving
from unbroken.entrypoints.settings import Settings

KEY = SessionKey("ann", "demo", "t1")


class Told:
    """Spans and metrics of every replica that is given it."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        tracers = TracerProvider(id_generator=StoryIds())
        tracers.add_span_processor(Belonging())
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        meters = MeterProvider([self._reader])
        self.telemetry = Telemetry(tracers.get_tracer("told"), meters.get_meter("told"))

    def spans(self, name: str = "") -> list[ReadableSpan]:
        found = [span for span in self._spans.get_finished_spans() if not name or span.name == name]
        return sorted(found, key=lambda span: span.start_time or 0)

    def span(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span

    def points(self, name: str) -> dict[tuple[tuple[str, object], ...], float]:
        """Labels → value, or how many values."""
        data = self._reader.get_metrics_data()
        return {
            tuple(sorted((point.attributes or {}).items())): getattr(point, "value", getattr(point, "count", 0))
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


def container_of(store: MemoryStore, agent: ScriptedAgent, replica: int) -> Container:
    settings = Settings(retry_backoff_s=0.01, recovery_poll_s=0.05, effect_poll_s=0.05, ack_flush_s=0.05, drain_s=0.0)
    return Container(
        settings=settings,
        replica_id=replica,
        event_store=store.event_store,
        sessions=store.sessions,
        controls=store.controls,
        unit_of_work=store.unit_of_work,
        outbox=store.outbox,
        timers=store.timers,
        health=store.health,
        threads=store.threads,
        thread_records=store.thread_records,
        assistants=store.assistants,
        states=GraphStates(OneAgent(agent), store.checkpoints),
        files=store.files,
        user_data=store.user_data,
        checkpoints=store.checkpoints,
        runs=store.runs,
        audit=store.audit,
        agents=OneAgent(agent),
        lease=AlwaysHeld(),
    )


class Replica:
    def __init__(self, service: Service, agent: ScriptedAgent, store: MemoryStore) -> None:
        self.service = service
        self.agent = agent
        self.store = store


@asynccontextmanager
async def replica(told: Told, store: MemoryStore, name: str = "a", *, lease_s: float = 60.0) -> AsyncIterator[Replica]:
    joined = await store.replicas.join(name, lease_ttl_s=lease_s)
    agent = ScriptedAgent(store.checkpoints)
    container = container_of(store, agent, joined.id)
    observing.observe(container, told.telemetry)
    async with serving(container.settings(), container, container.agents()) as service:
        yield Replica(service, agent, store)


def new_store() -> MemoryStore:
    return MemoryStore(SystemClock())


async def read_to_the_end(subscription: Subscription, log_index: int) -> None:
    """As a connection does that writes at once."""
    while subscription.cursor < log_index:
        await subscription.next()
    subscription.interrupt()
    await subscription.next()
