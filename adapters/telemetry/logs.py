from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, format_span_id, format_trace_id

from unbroken.application.log_context import working_for


@contextmanager
def naming(span: Span) -> Iterator[None]:
    """Log lines of the code in the block say which span they belong to, in the words of its collectors."""
    context = span.get_span_context()
    if not context.is_valid:
        yield
        return
    with working_for(trace_id=format_trace_id(context.trace_id), span_id=format_span_id(context.span_id)):
        yield
