"""What a rich run recorded of LangGraph's stream modes, in the words of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from unbroken.domain.stream_parts import StepPart

INTERRUPT: Final = "__interrupt__"
"""Questions are told when they are durable, from the log."""


class Step(Struct, frozen=True):
    method: str
    namespace: tuple[str, ...]
    data: Any
    node: str | None = None
    part: str | None = None
    """Its name within the attempt, where the log may tell the same once more."""
    message: tuple[str, bool] | None = None
    """A message, and whether it is open from here on."""
    tool: tuple[str, bool] | None = None
    """A tool call, likewise."""

    @property
    def opens(self) -> bool:
        """Whether its namespace is certainly a subgraph's: models speak under names of their own."""
        return bool(self.namespace) and self.method not in ("messages", "tools", "custom")


def of(part: StepPart, *, rich: bool) -> Iterator[Step]:
    """At most one. What was let go of, and what only chat frames show of a rich run, is nothing."""
    if part.data is None:
        return
    raw = msgspec.Raw(part.data)
    match part.method:
        case "custom":
            yield Step("custom", part.namespace, {"payload": raw})
        case "messages":
            yield _message(part, raw)
        case "tools":
            yield _tool(part)
        case "values":
            yield Step("values", part.namespace, _without_interrupts(msgspec.json.decode(part.data)))
        case "updates":
            yield from _updates(part)
        case "checkpoints":
            yield Step("checkpoints", part.namespace, _checkpoint(msgspec.json.decode(part.data, type=_Checkpoint)))
        case "tasks":
            yield Step("tasks", part.namespace, raw)
        case _:
            return


class _Place(Struct, frozen=True):
    configurable: dict[str, Any] = {}

    @property
    def id(self) -> str | None:
        found = self.configurable.get("checkpoint_id")
        return found if isinstance(found, str) else None


class _Checkpoint(Struct, frozen=True):
    config: _Place = _Place()
    parent_config: _Place | None = None
    metadata: dict[str, Any] = {}


def _checkpoint(found: _Checkpoint) -> dict[str, Any]:
    """What clients fork from, and how they tell which of two states is the later one. The state follows as values."""
    told = {"id": found.config.id, "step": found.metadata.get("step"), "source": found.metadata.get("source")}
    parent_id = found.parent_config.id if found.parent_config else None
    return told if parent_id is None else told | {"parent_id": parent_id}


class _Said(Struct, frozen=True):
    event: str = ""
    id: str | None = None
    message_id: str | None = None
    index: int | str | None = None


def _message(part: StepPart, raw: msgspec.Raw) -> Step:
    said = msgspec.json.decode(part.data or b"{}", type=_Said)
    message_id = said.message_id or said.id
    if message_id is None:
        return Step("messages", part.namespace, raw)
    match said.event:
        case "message-start":
            return Step("messages", part.namespace, raw, part=f"{message_id}.start", message=(message_id, True))
        case "content-block-start":
            return Step("messages", part.namespace, raw, part=f"{message_id}.{said.index}.start")
        case "content-block-finish":
            return Step("messages", part.namespace, raw, part=f"{message_id}.{said.index}.finish")
        case "message-finish":
            return Step("messages", part.namespace, raw, part=f"{message_id}.finish", message=(message_id, False))
        case "error":
            return Step("messages", part.namespace, raw, part=f"{message_id}.error", message=(message_id, False))
    return Step("messages", part.namespace, raw)


def _tool(part: StepPart) -> Step:
    data = msgspec.json.decode(part.data or b"{}")
    node = data.pop("__node", None) if isinstance(data, dict) else None
    event = data.get("event") if isinstance(data, dict) else None
    tool_call_id = str(data.get("tool_call_id")) if isinstance(data, dict) else ""
    node = node if isinstance(node, str) and node else None
    if event == "tool-started":
        name, change = f"tool.{tool_call_id}.start", (tool_call_id, True)
    elif event in ("tool-finished", "tool-error"):
        name, change = f"tool.{tool_call_id}.finish", (tool_call_id, False)
    else:
        return Step("tools", part.namespace, data, node)
    return Step("tools", part.namespace, data, node, name, tool=change)


def _updates(part: StepPart) -> Iterator[Step]:
    data = msgspec.json.decode(part.data or b"null")
    node: str | None = None
    if isinstance(data, dict):
        data = _without_interrupts(data)
        if not data:
            return
        if len(data) == 1:
            ((node, data),) = data.items()
    values = _without_interrupts(data) if isinstance(data, dict) else {"value": data}
    yield Step("updates", part.namespace, values, node)


def _without_interrupts(values: Any) -> Any:
    if isinstance(values, dict) and INTERRUPT in values:
        return {key: value for key, value in values.items() if key != INTERRUPT}
    return values


def parsed(text: str | None) -> Any:
    """A tool's arguments as they are shown beside an answer: JSON, unless it was cut off."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
