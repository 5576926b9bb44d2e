"""An agent's state as the store sees it: opaque rows of the official checkpoint tables.

Nothing here is interpreted outside the agent adapter; `checkpoint` and `metadata` are JSON text, blobs are
whatever the agent's serializer made.
"""

from __future__ import annotations

from msgspec import Struct

ROOT = ""
"""The root graph's checkpoint namespace."""


class CheckpointRow(Struct, frozen=True):
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    checkpoint: bytes
    """UTF-8 JSON object with `channel_versions`; complex values are in the blobs."""
    metadata: bytes
    """UTF-8 JSON object."""


class BlobRow(Struct, frozen=True):
    checkpoint_ns: str
    channel: str
    version: str
    type: str
    blob: bytes | None


class WriteRow(Struct, frozen=True):
    checkpoint_ns: str
    checkpoint_id: str
    task_id: str
    task_path: str
    idx: int
    channel: str
    type: str
    blob: bytes
    replaces: bool
    """True: overwrite a row of the same key (special writes); False: the first one stands."""


class StateChange(Struct, frozen=True):
    """Everything one commit adds to the agent's state. Applied in the order the fields stand."""

    checkpoints: tuple[CheckpointRow, ...] = ()
    blobs: tuple[BlobRow, ...] = ()
    writes: tuple[WriteRow, ...] = ()
    heads: tuple[tuple[str, str], ...] = ()
    """(namespace, checkpoint id) of each head that moves; "" as id: known to be empty."""


class StoredCheckpoint(Struct, frozen=True):
    """One checkpoint with its blobs and the writes pending on it, in (task_path, task_id, idx) order."""

    thread_id: str
    row: CheckpointRow
    blobs: tuple[BlobRow, ...]
    writes: tuple[WriteRow, ...]
