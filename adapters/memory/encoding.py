"""What crosses into and out of the tables, as bytes.

Events and effects are JSON, as a database would hold them: a tuple comes back as a list, a number as a key comes
back as text, and half a surrogate pair or U+0000 cannot be stored. Agent state is opaque and only framed.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from unbroken.domain.checkpoints import BlobRow, CheckpointRow, WriteRow
from unbroken.domain.effects import EffectBody, LoggedBody
from unbroken.domain.errors import InvalidValue
from unbroken.domain.events import Event

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_event = msgspec.json.Decoder(Event)
_effect: msgspec.json.Decoder[EffectBody] = msgspec.json.Decoder(EffectBody)
_logged: msgspec.json.Decoder[LoggedBody] = msgspec.json.Decoder(LoggedBody)
_checkpoint = msgspec.msgpack.Decoder(CheckpointRow)
_blob = msgspec.msgpack.Decoder(BlobRow)
_write = msgspec.msgpack.Decoder(WriteRow)

decode_event = _event.decode
decode_effect = _effect.decode
decode_logged = _logged.decode
decode_checkpoint = _checkpoint.decode
decode_blob = _blob.decode
decode_write = _write.decode
decode_json = msgspec.json.decode
decode_trace = msgspec.json.Decoder(dict[str, str]).decode
encode_row = msgspec.msgpack.encode


def encode_json(field: str, value: object) -> bytes:
    """Raises InvalidValue, naming `field`, for what JSON in a database cannot hold."""
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise InvalidValue(field, str(error)) from error
    if b"\\u0000" in encoded and _ESCAPED_NUL.search(encoded):
        raise InvalidValue(field, "holds U+0000")
    return encoded


def encode_checkpoint(row: CheckpointRow) -> bytes:
    """Raises InvalidValue unless checkpoint and metadata are JSON objects."""
    for field, text in (("checkpoint", row.checkpoint), ("metadata", row.metadata)):
        try:
            msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise InvalidValue(field, str(error)) from error
    return encode_row(row)
