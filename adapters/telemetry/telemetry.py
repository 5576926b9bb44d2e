"""What the wrappers share: a tracer that never writes down what somebody said, the instruments, and the time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, use_span

from unbroken.adapters.telemetry import names
from unbroken.adapters.telemetry.instruments import Instruments
from unbroken.domain.errors import (
    CancelRequested,
    CommitUnknown,
    Conflict,
    Fenced,
    Refused,
    StoreUnavailable,
    TurnFailed,
    Unavailable,
)

NS: Final = 1_000_000_000
WORDS: Final = (
    (Fenced, "fenced"),
    (CancelRequested, "cancel_requested"),
    (CommitUnknown, "commit_unknown"),
    (StoreUnavailable, "store_unavailable"),
    (Unavailable, "busy"),
    (Refused, "refused"),
    (Conflict, "conflict"),
)
"""What ended something, in one of a few words: they are labels too."""


class Telemetry:
    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self.tracer = tracer
        self.meter = meter
        self.instruments = Instruments(meter)

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind,
        attributes: names.Attributes,
        *,
        context: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """A span around the block, in force inside it. An exception leaves its type, never its words: they may
        repeat what somebody said."""
        span = self.begin(name, kind, attributes, context=context, links=links)
        try:
            with within(span):
                yield span
        except BaseException as error:
            failed(span, word(error))
            raise
        finally:
            span.end()

    def begin(
        self,
        name: str,
        kind: SpanKind,
        attributes: names.Attributes,
        *,
        context: Context | None = None,
        links: Sequence[Link] = (),
        start: int | None = None,
    ) -> Span:
        """A span that its caller ends. `context` None: a part of what is in force; an empty one: of nothing."""
        return self.tracer.start_span(
            name,
            context,
            kind,
            attributes,
            links,
            start,
            record_exception=False,
            set_status_on_exception=False,
        )


@contextmanager
def within(span: Span) -> Iterator[None]:
    with use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        yield


def failed(span: Span, why: str) -> None:
    span.set_attribute(names.ERROR, why)
    span.set_status(Status(StatusCode.ERROR))


def word(error: BaseException) -> str:
    if isinstance(error, TurnFailed):
        return error.code
    return next((said for kind, said in WORDS if isinstance(error, kind)), type(error).__name__)


def now_ns() -> int:
    return time.time_ns()


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * NS)


def age_s(moment: datetime) -> float:
    """Since a moment by the store's clock: two machines may differ, and nothing is younger than now."""
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())
