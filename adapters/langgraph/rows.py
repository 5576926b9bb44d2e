"""Between LangGraph's values and the official tables' rows, exactly as `AsyncPostgresSaver` stores them.

Primitive channel values stand in the checkpoint's own JSON, everything else in blobs under (channel, version);
a `_DeltaSnapshot` leaves `true` in the JSON and its value in a blob. Text that jsonb refuses (U+0000, half a
surrogate pair) is made well-formed instead of failing the commit: a model that stutters must not cost the answer.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from pydantic import BaseModel

from unbroken.domain.checkpoints import BlobRow, StoredCheckpoint
from unbroken.domain.utf16 import well_formed

PRIMITIVES = (str, int, float, bool)


def next_version(current: str | int | None) -> str:
    """A channel's next version: sorts after `current`, and differs between two writers."""
    past = 0 if current is None else current if isinstance(current, int) else int(current.split(".")[0])
    return f"{past + 1:032}.{random.random():016}"  # noqa: S311 (tells writers apart, guards nothing)


def stored_as_blob(value: Any) -> bool:
    return isinstance(value, _DeltaSnapshot) or not (value is None or isinstance(value, PRIMITIVES))


def inline(checkpoint: Checkpoint) -> bytes:
    """The `checkpoint` column: everything but the blobs."""
    values: dict[str, Any] = {}
    for channel, value in checkpoint["channel_values"].items():
        if isinstance(value, _DeltaSnapshot):
            values[channel] = True
        elif not stored_as_blob(value):
            values[channel] = value
    return to_json({**checkpoint, "channel_values": values})


def to_json(value: Any) -> bytes:
    """JSON that jsonb takes."""
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError):
        return msgspec.json.encode(healed(value), enc_hook=_plain)
    return msgspec.json.encode(healed(value)) if b"\\u0000" in encoded else encoded


def _plain(value: Any) -> str | int | float:
    """Subclasses of primitives (enums, numpy's floats), which the official saver inlines as what they extend."""
    for primitive in (str, int, float):
        if isinstance(value, primitive):
            return primitive(value)
    raise TypeError(f"a checkpoint holds a {type(value).__name__}, which JSON cannot")


def healed(value: Any) -> Any:
    """The same value with every text in it well-formed."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {healed(key): healed(item) for key, item in value.items()}
    if isinstance(value, list | set | frozenset):
        return type(value)(healed(item) for item in value)
    if isinstance(value, tuple):
        parts = [healed(item) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: healed(item) for name, item in value.__dict__.items()})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: healed(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
        return dataclasses.replace(value, **changes)
    return value


def channel_values(serde: SerializerProtocol, inlined: dict[str, Any], blobs: Sequence[BlobRow]) -> dict[str, Any]:
    values = dict(inlined)
    for blob in blobs:
        if blob.type != "empty":
            values[blob.channel] = serde.loads_typed((blob.type, blob.blob or b""))
    return values


def config_of(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}}


def to_tuple(serde: SerializerProtocol, stored: StoredCheckpoint, checkpoint: dict[str, Any]) -> CheckpointTuple:
    """`checkpoint`: the row's, decoded, with all its channel values."""
    row = stored.row
    return CheckpointTuple(
        config_of(stored.thread_id, row.checkpoint_ns, row.checkpoint_id),
        cast("Checkpoint", checkpoint),
        cast("CheckpointMetadata", msgspec.json.decode(row.metadata)),
        config_of(stored.thread_id, row.checkpoint_ns, row.parent_id) if row.parent_id else None,
        [(write.task_id, write.channel, serde.loads_typed((write.type, write.blob))) for write in stored.writes],
    )
