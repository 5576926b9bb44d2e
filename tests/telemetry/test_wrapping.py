"""Off, telemetry costs nothing, because nothing of it is there; on, it is where the story goes through."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.application.scripted_agent import ScriptedAgent
from tests.end_to_end.server import environment
from tests.telemetry.observed import Told, container_of, new_store
from unbroken.adapters.telemetry import providers
from unbroken.adapters.telemetry.accepting import ObservedAccept
from unbroken.adapters.telemetry.acknowledging import ObservedOutbox
from unbroken.adapters.telemetry.agents import ObservedAgents
from unbroken.adapters.telemetry.attempts import ObservedProcessor, ObservedUnitOfWork
from unbroken.adapters.telemetry.delivering import ObservedSubscribe
from unbroken.adapters.telemetry.discretion import DiscreetExporter
from unbroken.application.accept_event import AcceptEvent
from unbroken.application.session_processor import SessionProcessor
from unbroken.application.subscribe import Subscribe
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints import observing

LOOK = """
import asyncio, json, sys
import asyncpg
from langchain_core.callbacks import BaseCallbackManager
from unbroken.entrypoints import server, service
from unbroken.entrypoints.settings import Settings

async def main():
    settings = Settings(in_memory=True)
    graphs = server.agent_graphs(settings)
    async with service.running(settings, None, graphs, on_lost=print) as serving:
        print(json.dumps({
            "accept": type(serving.accept).__name__,
            "subscribe": type(serving.subscribe).__name__,
            "outbox": type(serving.outbox).__name__,
            "agents": type(serving.agents).__name__,
            "modules": [
                name for name in sys.modules
                if name.startswith(("unbroken.adapters.telemetry.", "opentelemetry.exporter",
                    "opentelemetry.instrumentation", "opentelemetry.util.genai", "prometheus_client"))
            ],
            "patched": [
                what.__module__ for what in (asyncpg.Connection.fetch, BaseCallbackManager.__init__)
                if hasattr(what, "__wrapped__")
            ],
        }))

asyncio.run(main())
"""


def looked(**variables: str) -> dict[str, Any]:
    """What a service in a process of its own consists of."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment(**variables), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}],
    ids=["nothing set", "disabled"],
)
def test_off_nothing_is_imported_patched_or_wrapped(variables: dict[str, str]) -> None:
    found = looked(**variables)
    assert found == {
        "accept": "AcceptEvent",
        "subscribe": "Subscribe",
        "outbox": "MemoryOutbox",
        "agents": "LangGraphAgents",
        "modules": [],
        "patched": [],
    }


def test_on_everything_is() -> None:
    found = looked(OTEL_TRACES_EXPORTER="console")
    assert found["accept"] == "ObservedAccept"
    assert found["outbox"] == "ObservedOutbox"
    assert found["patched"] == ["asyncpg.connection", "langchain_core.callbacks.base"]
    assert "unbroken.adapters.telemetry.providers" in found["modules"]


@pytest.mark.asyncio
async def test_a_container_gives_the_very_objects_it_was_given_until_it_is_observed() -> None:
    store = new_store()
    container = container_of(store, ScriptedAgent(store.checkpoints), 1)
    assert container.outbox() is store.outbox
    assert container.unit_of_work() is store.unit_of_work
    kinds = (AcceptEvent, SessionProcessor, Subscribe)
    bare = (container.accept(), container.processor(), container.subscribe())
    assert tuple(type(part) for part in bare) == kinds

    other = container_of(store, ScriptedAgent(store.checkpoints), 1)
    observing.observe(other, Told().telemetry)
    observed = (other.accept(), other.processor(), other.subscribe(), other.outbox(), other.unit_of_work())
    assert tuple(type(part) for part in observed) == (
        ObservedAccept,
        ObservedProcessor,
        ObservedSubscribe,
        ObservedOutbox,
        ObservedUnitOfWork,
    )
    assert isinstance(other.agents(), ObservedAgents)
    assert container.accept() is bare[0], "one container's telemetry is none of another's"


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("variables", "traces", "metrics"),
    [
        ({}, "none", "none"),
        (ENDPOINT, "otlp", "otlp"),
        (ENDPOINT | {"OTEL_METRICS_EXPORTER": "none"}, "otlp", "none"),
        (ENDPOINT | {"OTEL_METRICS_EXPORTER": "prometheus"}, "otlp", "prometheus"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, "otlp", "none"),
        ({"OTEL_TRACES_EXPORTER": "OTLP"}, "otlp", "none"),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "none", "prometheus"),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "True"}, "none", "none"),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, "otlp", "otlp"),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, "none", "none"),
    ],
)
def test_the_standard_variables_turn_it_on(variables: dict[str, str], traces: str, metrics: str) -> None:
    found = (observing.exporter("TRACES", variables), observing.exporter("METRICS", variables))
    assert found == (traces, metrics)
    assert observing.wanted(variables) == (found != ("none", "none"))


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        ENDPOINT | {"OTEL_METRICS_EXPORTER": "statsd"},
        ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        ENDPOINT | {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json"},
    ],
)
def test_what_it_cannot_do_is_said_by_name(variables: dict[str, str]) -> None:
    with pytest.raises(InvalidValue, match="OTEL_"):
        observing.wanted(variables)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", False),
        ("no_content", False),
        ("event_only", False),
        ("span_only", True),
        (" SPAN_AND_EVENT ", True),
        ("0", False),
        ("none", False),
        ("true", False),
    ],
)
def test_only_a_word_that_means_so_lets_words_out(monkeypatch: pytest.MonkeyPatch, asked: str, expected: bool) -> None:
    """LangChain's instrumentation takes whatever it does not know for no; so do we."""
    monkeypatch.setenv(providers.CONTENT, asked)
    exporter = providers._span_exporter("console")
    assert isinstance(exporter, DiscreetExporter) != expected
