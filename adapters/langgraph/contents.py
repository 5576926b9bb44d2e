"""A stored checkpoint as people look at it: plain JSON, no longer than somebody reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel

from unbroken.adapters.langgraph.messages import as_dict
from unbroken.adapters.langgraph.rows import channel_values
from unbroken.domain.checkpoints import StoredCheckpoint

MAX_TEXT: Final = 4_000
"""Characters of one text."""
MAX_ITEMS: Final = 200
"""Of one list or mapping: of a list the last ones, which are the newest messages."""
MAX_DEPTH: Final = 8


def contents(stored: StoredCheckpoint) -> dict[str, Any]:
    """The channels' values and the writes that are pending on them. What cannot be read back says so in its place."""
    serde = JsonPlusSerializer()
    inlined = msgspec.json.decode(stored.row.checkpoint).get("channel_values") or {}
    values: dict[str, Any] = dict(inlined)
    for blob in stored.blobs:
        values.update(_attempted(blob.channel, lambda blob=blob: channel_values(serde, {}, [blob])))
    pending = [
        {"channel": write.channel}
        | _attempted("value", lambda write=write: {"value": serde.loads_typed((write.type, write.blob))})
        for write in stored.writes
    ]
    return {"values": _shown(values, 0), "pending": _shown(pending, 0)}


def _attempted(name: str, read: Any) -> dict[str, Any]:
    try:
        return dict(read())
    except Exception as error:  # noqa: BLE001
        # A class that is not here any more must not hide the other channels.
        return {name: f"cannot be read: {type(error).__name__}: {error}"}


def _shown(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value)} characters)"
    if depth >= MAX_DEPTH:
        return f"… ({type(value).__name__})"
    if isinstance(value, BaseMessage):
        return _shown(as_dict(value), depth + 1)
    if isinstance(value, BaseModel):
        return _shown(dict(value), depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _shown({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, depth)
    if isinstance(value, Mapping):
        items = list(value.items())
        shown = {str(key): _shown(item, depth + 1) for key, item in items[:MAX_ITEMS]}
        return shown | ({"…": f"{len(items) - MAX_ITEMS} more"} if len(items) > MAX_ITEMS else {})
    if isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
        skipped = [f"… ({len(parts) - MAX_ITEMS} before)"] if len(parts) > MAX_ITEMS else []
        return [*skipped, *(_shown(part, depth + 1) for part in parts[-MAX_ITEMS:])]
    text = f"{len(value)} bytes" if isinstance(value, bytes | bytearray) else repr(value)
    return _shown(text, depth)
