"""A run's events as server-sent events."""

from __future__ import annotations

from collections.abc import Iterable

from unbroken.entrypoints.langgraph_api.run_events import RunEvent


def encoded(events: Iterable[RunEvent]) -> bytes:
    """JSON holds no line break, so each event's data is one line."""
    return b"".join(
        b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (_line(event.event), event.data, event.id.encode())
        for event in events
    )


def _line(text: str) -> bytes:
    """Nodes may be called anything."""
    return text.replace("\r", "").replace("\n", "").encode(errors="replace")
