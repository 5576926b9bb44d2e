"""A story printed: each span below its parent, in the order of time, with what it links to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tests.telemetry.collector import Span

SHOWN = ("unbroken.attempt", "unbroken.attempt.reason", "unbroken.outcome", "unbroken.kind", "langgraph.step")


def tree(spans: Sequence[Span]) -> str:
    """Spans whose parents never ended stand below their attempt, if they name one."""
    known = {span.span_id: span for span in spans}
    below: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        below[span.parent_id if span.parent_id in known else _attempt(span, known)].append(span)
    first = min(span.start_ns for span in spans)
    lines: list[str] = []

    def walk(parent: str, depth: int) -> None:
        for span in sorted(below[parent], key=lambda span: (span.start_ns, span.end_ns)):
            begins, takes = (span.start_ns - first) / 1e6, (span.end_ns - span.start_ns) / 1e6
            lines.append(f"{begins:8.0f} {takes:8.1f}  {'  ' * depth}{_told(span, known)}")
            walk(span.span_id, depth + 1)

    walk("", 0)
    return "\n".join([" from ms  for ms", *lines])


def _attempt(span: Span, known: dict[str, Span]) -> str:
    """Where a span belongs whose parent never ended; empty: nowhere."""
    named = [target for _, target, about in span.links if about.get("unbroken.kind") == "attempt" and target in known]
    return named[0] if named else ""


def _told(span: Span, known: dict[str, Span]) -> str:
    facts = [f"{name.removeprefix('unbroken.')}={span.attributes[name]}" for name in SHOWN if name in span.attributes]
    for _, target, about in span.links:
        if target in known and target != span.parent_id and about.get("unbroken.kind") != "attempt":
            why = about.get("unbroken.attempt.reason")
            facts.append(f"→ {known[target].name}{_which(known[target])}{f' ({why})' if why else ''}")
    return " ".join([("✗ " if span.failed else "") + span.name, *facts])


def _which(span: Span) -> str:
    return f" #{span.attributes['unbroken.attempt']}" if span.name == "process events" else ""
