"""Whatever an agent's state, its messages or its tools hold, as JSON that every store and every client takes."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from langgraph.types import Send

from unbroken.adapters.langgraph.rows import healed

_NUL: Final = b"\\u0000"


def json_of(value: Any) -> bytes:
    """Never fails for a value's kind: models become their fields, and what has none becomes its text, a key of a dict
    included. Text is made well-formed, as where it is committed."""
    try:
        data = msgspec.json.encode(value, enc_hook=plain)
    except UnicodeEncodeError:  # half a surrogate pair
        data = _NUL
    return msgspec.json.encode(healed(value), enc_hook=_well_formed) if _NUL in data else data


def as_json(value: Any) -> Any:
    """The same as dicts, lists, texts, numbers, booleans and None, sharing nothing with `value`."""
    return msgspec.json.decode(json_of(value))


def plain(value: Any) -> Any:
    """What JSON does not know, as what it does. A model's fields as they are: some dump to JSON only what they expect
    to hold, and a state may hold anything."""
    if isinstance(value, Send):
        return {"node": value.node, "args": value.arg}
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) and not isinstance(value, type) else str(value)


def _well_formed(value: Any) -> Any:
    return healed(plain(value))
