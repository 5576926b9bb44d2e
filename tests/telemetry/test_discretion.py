"""What leaves the process of a span whose code raised: that it did and what, never its words."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, StatusCode

from unbroken.adapters.telemetry.discretion import DiscreetExporter


def exported(words: str | None) -> ReadableSpan:
    """A span as an agent's own code would begin it: OpenTelemetry notes exceptions in it by itself."""
    kept = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(DiscreetExporter(kept)))
    tracer = tracers.get_tracer("an agent")
    before = tracer.start_span("before")
    before.end()

    def work() -> None:
        links = [Link(before.get_span_context())]
        with tracer.start_as_current_span("work", links=links, attributes={"step": 3}) as span:
            span.add_event("first token", {"n": 1})
            if words is not None:
                raise ValueError(words)

    if words is None:
        work()
    else:
        with pytest.raises(ValueError, match=words):
            work()
    (span,) = [span for span in kept.get_finished_spans() if span.name == "work"]
    return span


def test_an_exception_s_words_stay_and_all_else_goes() -> None:
    span = exported("elderberry")
    assert "elderberry" not in span.to_json()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert [event.name for event in span.events] == ["first token"]
    whole = exported(None)
    assert dict(span.attributes or {}) == dict(whole.attributes or {}) == {"step": 3}
    assert len(span.links) == len(whole.links) == 1
    assert (span.kind, span.instrumentation_scope) == (whole.kind, whole.instrumentation_scope)
    for one in (span, whole):
        assert one.context is not None
        assert one.start_time is not None
        assert one.end_time is not None
        assert one.end_time >= one.start_time


def test_a_span_that_went_well_is_exported_as_it_is() -> None:
    assert [event.name for event in exported(None).events] == ["first token"]
