"""A thread's stored state with everything random taken out, so that two savers' can be equal."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Interrupt, Send

UNIQUE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")
VERSION = re.compile(r"\b(0{20}\d{12})\.[0-9.e-]+")


async def normal_thread(saver: BaseCheckpointSaver[Any], thread_id: str) -> str:
    """Every checkpoint of every namespace, oldest first; ids become numbers in the order they appear."""
    config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
    found = [one async for one in saver.alist(config)]
    ordered = sorted(found, key=lambda one: (len(_ns(one)) > 0, one.checkpoint["id"]))
    text = msgspec.json.format(msgspec.json.encode([_plain(one) for one in ordered], enc_hook=_value)).decode()
    return _numbered(text.replace(thread_id, "THREAD"))


def _numbered(text: str) -> str:
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"<{len(numbers)}>")

    return UNIQUE.sub(number, VERSION.sub(lambda match: f"v{int(match[1])}", text))


def _ns(one: CheckpointTuple) -> str:
    return str(one.config["configurable"].get("checkpoint_ns", ""))


def _plain(one: CheckpointTuple) -> dict[str, Any]:
    checkpoint = {name: value for name, value in one.checkpoint.items() if name not in {"ts", "pending_sends"}}
    return {
        "ns": _ns(one),
        "parent": one.parent_config["configurable"]["checkpoint_id"] if one.parent_config else None,
        "checkpoint": _sorted(checkpoint),
        "metadata": _sorted(one.metadata),
        "writes": one.pending_writes,
    }


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value


def _value(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return _sorted(value.model_dump())
    if isinstance(value, _DeltaSnapshot):
        return {"snapshot": value.value}
    if isinstance(value, Interrupt):
        return {"interrupt": value.id, "value": value.value}
    if isinstance(value, Send):
        return {"send": value.node, "arg": value.arg}
    raise NotImplementedError(type(value))
