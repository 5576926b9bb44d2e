"""What a project's `authenticate` says of a user, whatever it says it with, as what is kept of it: plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

import msgspec

from unbroken.adapters.langgraph.json_values import as_json, json_of

KNOWN: Final = ("identity", "display_name", "is_authenticated", "permissions")
MOST_NAMES: Final = 256
"""That are looked for at one object."""
COMPUTED: Final = (property, cached_property, MemberDescriptorType)


def said_of(found: Any, *, most: int) -> tuple[dict[str, Any], list[str]]:
    """A text is an identity, a mapping is taken as it is, and of any other object what it shows by attribute or by
    key, as far as that fits into `most` bytes of JSON. Second, what of an object is left out, as lines: JSON has no
    form for it, it could not be read, or it is too long. Raises whatever a mapping of somebody else's class does."""
    if isinstance(found, str):
        return {"identity": found}, []
    if isinstance(found, Mapping):
        details: dict[str, Any] = as_json(dict(found))
        return details, []
    said: dict[str, Any] = {}
    left_out: list[str] = []
    size = 2
    for name in islice(dict.fromkeys(_names(found)), MOST_NAMES):
        try:
            value = _read(found, name)
            needs = len(json_of(name)) + _size(value) + 2
        except Exception as error:  # noqa: BLE001 (of somebody else's class; rules that need it find nothing)
            if name not in KNOWN or not isinstance(error, AttributeError):
                left_out.append(f"{name} ({type(error).__name__})")
            continue
        if callable(value):
            continue
        if size + needs > most:
            left_out.append(f"{name} (too long)")
            continue
        said[name] = value
        size += needs
    return as_json(said), left_out


def _names(found: Any) -> Iterator[str]:
    """Those that are meant for others: none begins with an underscore."""
    yield from KNOWN
    for name in (*_keys(found), *getattr(found, "__dict__", ()), *_computed(type(found))):
        if isinstance(name, str) and not name.startswith("_"):
            yield name


def _keys(found: Any) -> Iterable[Any]:
    """Of an object that is read by key, as LangGraph's `BaseUser` may be, without being a mapping."""
    if not hasattr(type(found), "__getitem__") or not hasattr(type(found), "__iter__"):
        return ()
    try:
        return list(islice(iter(found), MOST_NAMES))
    except Exception:  # noqa: BLE001 (declared by the protocol, and meant by nobody)
        return ()


def _computed(of: type) -> Iterator[str]:
    """Properties, slots and values of its classes; what pydantic's models show of themselves says nothing of a user."""
    for one in of.__mro__:
        if one.__module__ != "pydantic.main":
            yield from (name for name, value in vars(one).items() if _is_value(value) and name != "model_config")


def _is_value(value: Any) -> bool:
    if isinstance(value, COMPUTED):
        return True
    return not callable(value) and not hasattr(type(value), "__get__") and not isinstance(value, GetSetDescriptorType)


def _read(found: Any, name: str) -> Any:
    try:
        return getattr(found, name)
    except AttributeError:
        if not hasattr(type(found), "__getitem__"):
            raise
    try:
        return found[name]
    except (LookupError, TypeError) as error:
        raise AttributeError(name) from error


def _size(value: Any) -> int:
    """As JSON. Raises whatever says that JSON has no form for it."""
    if callable(value):
        return 0
    try:
        return len(msgspec.json.encode(value, enc_hook=_fields))
    except UnicodeEncodeError:  # half a surrogate pair is made well-formed
        return len(json_of(value))


def _fields(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
