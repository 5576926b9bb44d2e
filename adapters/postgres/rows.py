"""Between rows and domain values. Nothing outside this package sees a row."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from unbroken.adapters.postgres.pool import Row
from unbroken.domain.checkpoints import BlobRow, CheckpointRow, StateChange, StoredCheckpoint, WriteRow
from unbroken.domain.effects import EffectBody, LoggedBody
from unbroken.domain.errors import CancelKind, InvalidValue
from unbroken.domain.events import Event, EventBody
from unbroken.domain.session import Claim, SessionKey

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

decode_body = msgspec.json.Decoder[EventBody](EventBody).decode
decode_effect = msgspec.json.Decoder[EffectBody](EffectBody).decode
decode_logged = msgspec.json.Decoder[LoggedBody](LoggedBody).decode
decode_trace = msgspec.json.Decoder(dict[str, str]).decode
decode_json = msgspec.json.decode

STATE_COLUMNS: Final = 21
"""How many parameters one state change takes."""


def encode_json(field: str, value: object) -> bytes:
    """Raises InvalidValue, naming `field`, for what jsonb cannot hold, before anything is sent."""
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidValue(field, str(error)) from error
    if b"\\u0000" in encoded and _ESCAPED_NUL.search(encoded):
        raise InvalidValue(field, "holds U+0000")
    return encoded


def placeholders(first: int, count: int) -> str:
    return ", ".join(f"${number}" for number in range(first, first + count))


def event_of(row: Row) -> Event:
    return Event(
        seq=row["seq"],
        id=row["id"],
        request_id=row["request_id"],
        body=decode_body(row["payload"]),
        created_at=row["created_at"],
        trace_context=decode_trace(row["trace_context"]),
    )


def claim_of(
    row: Row,
    key: SessionKey,
    event: Event,
    *,
    owner: int,
    epoch: int,
    tries: int = 1,
    superseded: bool = False,
    taken_over: bool = False,
    handed_over: int = 0,
    cancel: CancelKind | None = None,
) -> Claim:
    return Claim(
        key=key,
        owner=owner,
        epoch=epoch,
        event=event,
        run=row["run"],
        tries=tries,
        head=row["head"],
        base_head=row["base"],
        head_event=row["head_event"],
        log_index=row["log_index"],
        superseded=superseded,
        taken_over=taken_over,
        handed_over=handed_over,
        cancel=cancel,
        open_questions=tuple(row["open_questions"] or ()),
    )


def state_arguments(change: StateChange) -> list[Any]:
    """A state change as `STATE_COLUMNS` arrays, in the order of the stored functions' parameters; None where empty.

    Of two rows with the same key the last one counts if it replaces: one statement may not touch a row twice.
    """
    heads = dict(change.heads)
    checkpoints = {(row.checkpoint_ns, row.checkpoint_id): row for row in change.checkpoints}
    return [
        *_columns(list(heads.items()), 2),
        *_columns(
            [
                (row.checkpoint_ns, row.checkpoint_id, row.parent_id, row.checkpoint, row.metadata)
                for row in checkpoints.values()
            ],
            5,
        ),
        *_columns(
            [(row.checkpoint_ns, row.channel, row.version, row.type, row.blob) for row in change.blobs],
            5,
        ),
        *_columns(
            [
                (
                    row.checkpoint_ns,
                    row.checkpoint_id,
                    row.task_id,
                    row.task_path,
                    row.idx,
                    row.channel,
                    row.type,
                    row.blob,
                    row.replaces,
                )
                for row in _last_replacing(change.writes)
            ],
            9,
        ),
    ]


def stored_of(row: Row) -> StoredCheckpoint:
    """From the columns that `checkpoints.SELECT` names."""
    ns, id_ = row["checkpoint_ns"], row["checkpoint_id"]
    return StoredCheckpoint(
        thread_id=row["thread_id"],
        row=CheckpointRow(ns, id_, row["parent_checkpoint_id"], row["checkpoint"], row["metadata"]),
        blobs=tuple(BlobRow(ns, *blob) for blob in row["blobs"]),
        writes=tuple(
            WriteRow(ns, id_, task, path, idx, channel, type_ or "", blob, idx < 0)
            for task, path, idx, channel, type_, blob in row["writes"]
        ),
    )


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[Any]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [None] * width


def _last_replacing(writes: tuple[WriteRow, ...]) -> list[WriteRow]:
    if not any(row.replaces for row in writes):
        return list(writes)
    last = {(row.checkpoint_ns, row.checkpoint_id, row.task_id, row.idx): row for row in writes if row.replaces}
    return [row for row in writes if not row.replaces] + list(last.values())
