"""Whether a sequence of events is one of AG-UI's: by its published models, and by its validator."""

from __future__ import annotations

from typing import Any

from ag_ui.core.events import Event
from ag_ui_validate.pytest_plugin import validate_agui
from pydantic import TypeAdapter

_events: TypeAdapter[Any] = TypeAdapter(Event)


def conforms(events: list[dict[str, Any]]) -> None:
    for event in events:
        _events.validate_python(event)
    report = validate_agui(events)
    assert report.internal_errors == []
    assert [found for found in report.diagnostics if found.severity in ("error", "warning")] == []
