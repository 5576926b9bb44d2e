"""A story begins where a request comes in: the span whose name is stored with the event."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, get_current_span

from unbroken.adapters.telemetry import names
from unbroken.adapters.telemetry.identity import carrier_of, context_of, link, span_named
from unbroken.adapters.telemetry.logs import naming
from unbroken.adapters.telemetry.telemetry import Telemetry, failed, within, word
from unbroken.application.accept_event import AcceptEvent
from unbroken.domain.events import EventBody, NewEvent, WhenBusy
from unbroken.domain.ports.event_store import EventStore, Receipt
from unbroken.domain.session import SessionKey


class ObservedAccept(AcceptEvent):
    """What caused the event (the commit that set a timer) is linked, not continued: a chain of timers would be one
    endless trace.

    The span is in force in the store's call only. The session's task, which an accept may begin, outlives it by far.
    """

    def __init__(self, telemetry: Telemetry, **parts: Any) -> None:
        super().__init__(**parts)
        self._telemetry = telemetry

    async def __call__(
        self,
        key: SessionKey,
        request_id: str,
        body: EventBody,
        *,
        when_busy: WhenBusy | None = None,
        trace_context: Mapping[str, str] | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        kind = str(body.__struct_config__.tag)
        attributes = names.messaging("accept", "send", "events") | names.session(key)
        attributes |= {names.KIND: kind, names.REQUEST: request_id}
        cause = span_named(trace_context or {})
        span = self._telemetry.begin(
            "accept events", SpanKind.PRODUCER, attributes, context=Context() if cause else None, links=link(cause)
        )
        began, outcome = time.perf_counter(), "accepted"
        try:
            receipt = await super().__call__(
                key, request_id, body, when_busy=when_busy, trace_context=carrier_of(span), event_id=event_id
            )
            span.set_attributes(names.event(receipt.event))
            if receipt.duplicate:
                outcome = "duplicate"
            return receipt
        except BaseException as error:
            outcome = word(error)
            failed(span, outcome)
            raise
        finally:
            span.set_attribute(names.OUTCOME, outcome)
            span.end()
            labels = {names.KIND: kind, names.OUTCOME: outcome}
            self._telemetry.instruments.accept.record(time.perf_counter() - began, labels)


class ObservedEventStore(EventStore):
    """Queries and log lines of an accept are parts of the story that it begins."""

    def __init__(self, inner: EventStore) -> None:
        self._inner = inner

    async def accept(
        self,
        key: SessionKey,
        new: NewEvent,
        *,
        replica: int,
        queue_limit: int,
        when_busy: WhenBusy = WhenBusy.ENQUEUE,
    ) -> Receipt:
        span = get_current_span(context_of(new.trace_context))
        with within(span), naming(span):
            return await self._inner.accept(key, new, replica=replica, queue_limit=queue_limit, when_busy=when_busy)
