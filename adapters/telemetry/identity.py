"""Which span is whose: contexts read from stored carriers, and ids that any later process can work out.

A span is exported when it ends, so whatever ran when a process was killed is never seen. Its successor must still be
able to name it: an attempt's span id follows from its event and its number, and the trace id of an event that was
accepted without a carrier follows from the event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import Link, Span, SpanContext, TraceFlags, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from unbroken.domain.events import Event

_format = TraceContextTextMapPropagator()
_given: ContextVar[tuple[int, int] | None] = ContextVar("unbroken_span_identity", default=None)


class StoryIds(IdGenerator):
    """Random ids, unless the next span's are given."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        given = _given.get()
        return given[1] if given else self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        given = _given.get()
        return given[0] if given else self._random.generate_trace_id()


@contextmanager
def as_attempt(event: Event, run: int) -> Iterator[None]:
    """The one span that is begun inside is that attempt's."""
    token = _given.set((_derived(event.id, 16), _derived(f"{event.id}/{run}", 8)))
    try:
        yield
    finally:
        _given.reset(token)


@contextmanager
def of_event(event: Event) -> Iterator[None]:
    """The one span that is begun inside is a part of the event's story, whoever accepted it."""
    token = _given.set((_derived(event.id, 16), RandomIdGenerator().generate_span_id()))
    try:
        yield
    finally:
        _given.reset(token)


def context_of(carrier: Mapping[str, str]) -> Context:
    """What a stored carrier names; an empty context if it names nothing."""
    return _format.extract(carrier, Context())


def span_named(carrier: Mapping[str, str]) -> SpanContext | None:
    named = get_current_span(context_of(carrier)).get_span_context()
    return named if named.is_valid else None


def carrier_of(span: Span) -> dict[str, str]:
    """How a row names `span`."""
    carrier: dict[str, str] = {}
    _format.inject(carrier, set_span_in_context(span, Context()))
    return carrier


def attempt_named(event: Event, run: int) -> SpanContext:
    """The span of an attempt, whichever process ran it."""
    accepted = span_named(event.trace_context)
    return SpanContext(
        trace_id=accepted.trace_id if accepted else _derived(event.id, 16),
        span_id=_derived(f"{event.id}/{run}", 8),
        is_remote=True,
        trace_flags=accepted.trace_flags if accepted else TraceFlags(TraceFlags.SAMPLED),
    )


def link(to: SpanContext | None, attributes: Mapping[str, AttributeValue] | None = None) -> list[Link]:
    """None, or one."""
    return [Link(to, attributes)] if to is not None else []


def _derived(what: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(what.encode()).digest()[:size], "big") or 1
