"""What a socket is told: one span for following a session, one for what it was shown of an attempt as it came, one
for each entry of the log; none for a token.

A span's end is when the next deliveries are asked for: then the ones before have been written.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind

from unbroken.adapters.telemetry import names
from unbroken.adapters.telemetry.acknowledging import Written
from unbroken.adapters.telemetry.identity import attempt_named, context_of, link, of_event, span_named
from unbroken.adapters.telemetry.telemetry import Telemetry, failed, now_ns
from unbroken.application.deliveries import (
    Delivery,
    ShowGap,
    ShowLogged,
    ShowReset,
    ShowStep,
    ShowText,
    ShowTool,
    ShowUser,
)
from unbroken.application.live_sessions import LiveSession
from unbroken.application.subscribe import Shown, Shows, Since, Subscribe, Subscription
from unbroken.domain.effects import CancelTurn, LogEntry, ReportFailure, SendMessage
from unbroken.domain.events import Event
from unbroken.domain.session import SessionKey

MOST_LINKS: Final = 8
ENDS = (SendMessage, CancelTurn, ReportFailure)


class ObservedSubscribe(Subscribe):
    def __init__(self, telemetry: Telemetry, written: Written, *parts: Any) -> None:
        super().__init__(*parts)
        self._telemetry = telemetry
        self._written = written

    async def __call__(
        self, key: SessionKey, *, cursor: int | None, shown: Shows | None = None, whole: bool = False
    ) -> Subscription:
        start = now_ns()
        subscription = await super().__call__(key, cursor=cursor, shown=shown, whole=whole)
        assert isinstance(subscription, ObservedSubscription)
        subscription.begin(start, cursor, shown)
        return subscription

    def _follow(self, live: LiveSession, cursor: int, shown: Shows | None, whole: bool = False) -> Subscription:
        parts = (self._live, live, self._outbox, cursor, shown, whole)
        return ObservedSubscription(self._telemetry, self._written, *parts)


class ObservedSubscription(Subscription):
    def __init__(self, telemetry: Telemetry, written: Written, *parts: Any) -> None:
        super().__init__(*parts)
        self._telemetry = telemetry
        self._written = written
        self._opened: list[Link] = []
        """To the span of this very following."""
        self._events: dict[str, Event] = {}
        """By request id, of those that were shown and have not ended."""
        self._stream: Stream | None = None
        self._handed: list[tuple[LogEntry, Span]] = []
        """Entries on their way to the wire."""
        self._counted = False

    def begin(self, start: int, cursor: int | None, shown: Shows | None) -> None:
        """Following has begun: where, and what waited then."""
        waiting = list(self._live.pending.values())
        request_id = self._resumed(shown)
        resumed = next((event for event in waiting if event.request_id == request_id), None)
        kind = "gap" if self._gap else "stream" if resumed else "log" if cursor else "fresh"
        attributes = names.messaging("subscribe", "receive", "log") | names.session(self._live.key)
        attributes |= {names.KIND: kind, "unbroken.cursor": self.cursor}
        if shown:
            attributes[names.ATTEMPT] = shown.attempt
        if isinstance(shown, Shown | Since):
            attributes["unbroken.stream.offset"] = shown.offset if isinstance(shown, Shown) else shown.position
        if request_id:
            attributes[names.REQUEST] = request_id
        named = [span_named(event.trace_context) for event in waiting[:MOST_LINKS] if event is not resumed]
        links = [part for name in named for part in link(name)]
        span = self._telemetry.begin(
            "subscribe log",
            SpanKind.SERVER,
            attributes,
            context=context_of(resumed.trace_context) if resumed else Context(),
            links=links,
            start=start,
        )
        span.end()
        self._opened = link(span.get_span_context())
        self._telemetry.instruments.resumes.add(1, {names.KIND: kind})
        self._telemetry.instruments.sockets.add(1)
        self._counted = True

    async def next(self) -> list[Delivery]:
        for entry, span in self._handed:
            self._delivered(entry, span)
        self._handed.clear()
        deliveries = await super().next()
        for delivery in deliveries:
            self._hand_over(delivery)
        return deliveries

    def _resumed(self, shown: Shows | None) -> str | None:
        """The request whose answer the client shows, as far as that is known here."""
        if isinstance(shown, Since):
            running = self._live.attempt
            return running.event.request_id if running and running.run == shown.attempt else None
        return shown.request_id if isinstance(shown, Shown) else None

    def close(self) -> None:
        super().close()
        if self._stream:
            self._stream.end("left")
            self._stream = None
        for _, span in self._handed:
            failed(span, "left")
            span.end()
        self._handed.clear()
        if self._counted:
            self._counted = False
            self._telemetry.instruments.sockets.add(-1)

    def _hand_over(self, delivery: Delivery) -> None:
        match delivery:
            case ShowText():
                self._streaming(delivery).frames += 1
            case ShowTool() | ShowStep() | ShowReset():
                self._streaming(delivery)
            case ShowUser(event):
                self._events[event.request_id] = event
            case ShowLogged(entry):
                self._handed.append((entry, self._delivering(entry)))
            case ShowGap():
                self._events.clear()

    def _streaming(self, delivery: ShowText | ShowTool | ShowStep | ShowReset) -> Stream:
        stream = self._stream
        if stream is None or stream.attempt != delivery.attempt:
            if stream is not None:
                stream.end("superseded")
            stream = self._stream = self._begin_stream(delivery)
        return stream

    def _begin_stream(self, delivery: ShowText | ShowTool | ShowStep | ShowReset) -> Stream:
        running = self._live.attempt
        event = self._events.get(delivery.request_id) or (running.event if running else None)
        assert event is not None, "an attempt was shown of an event that was not"
        attributes = names.messaging("stream", "process", "log") | names.session(self._live.key) | names.event(event)
        attributes[names.ATTEMPT] = delivery.attempt
        if isinstance(delivery, ShowReset):
            attributes[names.REASON] = delivery.reason
        else:
            attributes |= {names.REASON: "resumed", "unbroken.stream.offset": delivery.part.offset}
        with of_event(event):
            span = self._telemetry.begin(
                "stream answer",
                SpanKind.CONSUMER,
                attributes,
                context=context_of(event.trace_context),
                links=[*link(attempt_named(event, delivery.attempt)), *self._opened],
            )
        return Stream(span, delivery.attempt)

    def _delivering(self, entry: LogEntry) -> Span:
        event, kind = entry.event, str(entry.body.__struct_config__.tag)
        if isinstance(entry.body, ENDS):
            self._events.pop(event.request_id, None)
            if self._stream and self._stream.attempt <= entry.body.attempt:
                self._stream.end("ended")
                self._stream = None
        attributes = names.messaging("deliver", "process", "log") | names.session(self._live.key) | names.event(event)
        attributes |= {names.KIND: kind, names.LOG_INDEX: entry.log_index}
        with of_event(event):
            return self._telemetry.begin(
                f"deliver {kind}",
                SpanKind.CONSUMER,
                attributes,
                context=context_of(event.trace_context),
                links=[*link(span_named(entry.trace_context)), *self._opened],
            )

    def _delivered(self, entry: LogEntry, span: Span) -> None:
        span.end()
        kind = str(entry.body.__struct_config__.tag)
        self._telemetry.instruments.deliveries.add(1, {names.KIND: kind})
        self._written.add(self._live.key.thread_id, entry.log_index, span.get_span_context())


class Stream:
    """What one socket is shown of one attempt."""

    def __init__(self, span: Span, attempt: int) -> None:
        self.attempt = attempt
        self.frames = 0
        self._span = span

    def end(self, how: str) -> None:
        self._span.set_attributes({names.OUTCOME: how, "unbroken.stream.frames": self.frames})
        self._span.end()
