"""From the standard `OTEL_*` variables to what exports: samplers, batches, intervals, limits and endpoints are read by
OpenTelemetry itself, so they mean here what they mean everywhere."""

from __future__ import annotations

import os
import threading
from importlib.metadata import version
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from unbroken.adapters.telemetry.attempts import Belonging
from unbroken.adapters.telemetry.discretion import DiscreetExporter
from unbroken.adapters.telemetry.identity import StoryIds
from unbroken.adapters.telemetry.sampling import StoriesOnly
from unbroken.adapters.telemetry.telemetry import Telemetry
from unbroken.domain.errors import InvalidValue

CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
NAME: Final = "unbroken"


class Providers:
    """Everything that was set up for this process; `stop` gives it back."""

    def __init__(self, *, traces: str, metrics: str, instance: str) -> None:
        """Raises InvalidValue if the page to scrape cannot be served."""
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "database")  # today's names, which later become the only
        resource = _resource(instance)
        self._tracers = TracerProvider(resource=resource, id_generator=StoryIds(), shutdown_on_exit=False)
        self._tracers.sampler = StoriesOnly(self._tracers.sampler)
        self._tracers.add_span_processor(Belonging())
        if exporter := _span_exporter(traces):
            self._tracers.add_span_processor(BatchSpanProcessor(exporter))
        readers = [reader] if (reader := _metric_reader(metrics)) else []
        self._meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        released = version(NAME)
        self.telemetry = Telemetry(self._tracers.get_tracer(NAME, released), self._meters.get_meter(NAME, released))

    def instrument(self) -> None:
        """Models, tools and queries tell of themselves, and so does an agent's own code that asks for a tracer."""
        trace.set_tracer_provider(self._tracers)
        metrics.set_meter_provider(self._meters)
        AsyncPGInstrumentor().instrument(tracer_provider=self._tracers)  # type: ignore[no-untyped-call]
        models = LangChainInstrumentor()  # type: ignore[no-untyped-call]
        models.instrument(tracer_provider=self._tracers, meter_provider=self._meters)
        handler = models._callback_handler
        assert handler is not None, "LangChain's instrumentation did not start: is `langchain` installed?"
        # It only takes notes. Left to itself, LangChain would hand each of its calls, one a token, to a thread.
        handler.run_inline = True

    def stop(self, limit_s: float) -> None:
        """Export what is left. A collector that does not answer keeps nobody longer than `limit_s`."""
        last = threading.Thread(target=self._shut_down, name="last export", daemon=True)
        last.start()
        last.join(limit_s)

    def _shut_down(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown()


def _resource(instance: str) -> Resource:
    """Ours, unless the operator says otherwise."""
    ours = {SERVICE_NAME: NAME, SERVICE_VERSION: version(NAME), SERVICE_INSTANCE_ID: instance}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _span_exporter(kind: str) -> SpanExporter | None:
    if kind == "none":
        return None
    exporter = OTLPSpanExporter() if kind == "otlp" else ConsoleSpanExporter()
    return exporter if _content_is_wanted() else DiscreetExporter(exporter)


def _metric_reader(kind: str) -> MetricReader | None:
    match kind:
        case "none":
            return None
        case "prometheus":
            return _scraped()
        case "otlp":
            return PeriodicExportingMetricReader(OTLPMetricExporter())
        case _:
            return PeriodicExportingMetricReader(ConsoleMetricExporter())


def _scraped() -> MetricReader:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415 — where it is asked for
    from prometheus_client import start_http_server  # noqa: PLC0415

    host = os.environ.get("OTEL_EXPORTER_PROMETHEUS_HOST") or "localhost"
    port = os.environ.get("OTEL_EXPORTER_PROMETHEUS_PORT") or "9464"
    try:
        start_http_server(int(port), host)
    except (ValueError, OSError, OverflowError) as error:
        raise InvalidValue("OTEL_EXPORTER_PROMETHEUS_PORT", f"cannot serve on {host}:{port}: {error}") from None
    return PrometheusMetricReader()


def _content_is_wanted() -> bool:
    """Spans are all that we export: whoever asks for events alone, or for something unheard of, gets no words."""
    return os.environ.get(CONTENT, "").strip().lower() in ("span_only", "span_and_event")
