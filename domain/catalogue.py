"""Threads and assistants as LangGraph's own clients list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from msgspec import Struct

MAX_METADATA: Final = 64 << 10
"""Bytes of one record's metadata as JSON, whatever it grew from."""
MAX_SOUGHT: Final = 4 << 10
"""Bytes of a pattern that a client looks for, as JSON."""
MAX_WEIGHT: Final = 16
"""Objects and lists in such a pattern."""
MAX_ASSISTANTS: Final = 1_000
"""That one user has created."""
MAX_VERSIONS: Final = 200
"""Of one assistant."""

Metadata = dict[str, Any]
Where = tuple[tuple[Metadata, ...], ...]
"""Of metadata: any of these holds; each holds if the metadata contain all of its patterns (`contains`). Empty tuple of
alternatives: nothing matches; one empty alternative: everything does."""

ANY: Final[Where] = ((),)


class RecordStatus(StrEnum):
    IDLE = "idle"
    BUSY = "busy"
    """A run or a message is unfinished."""
    INTERRUPTED = "interrupted"
    """The agent waits for an answer to its question, or stands where a change of its state has left it, with something
    to run next."""
    ERROR = "error"
    """What was last asked of the agent failed."""


class ThreadRecord(Struct, frozen=True):
    """A thread, whoever made it, and whether or not anything ran in it."""

    thread_id: str
    agent_id: str | None
    """None: nothing ran in it so far, and the first run binds it to its agent."""
    metadata: Metadata
    """As clients set them; of a thread that is bound, with `graph_id`."""
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    """When something was last said, or written into the state; of a thread in which nothing ran, when it was made."""
    status: RecordStatus


SortBy = Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"]


class ThreadQuery(Struct, frozen=True):
    where: Where = ANY
    status: RecordStatus | None = None
    ids: tuple[str, ...] | None = None
    """None: whichever."""


class Preset(Struct, frozen=True):
    """What one version of an assistant sets."""

    graph_id: str
    name: str
    description: str | None = None
    config: Metadata = {}
    context: Any = None
    metadata: Metadata = {}


class Assistant(Struct, frozen=True):
    assistant_id: str
    version: int
    """From 1 on."""
    preset: Preset
    created_at: datetime
    """Of the assistant; in a list of versions, of the version."""
    updated_at: datetime


def contains(value: Any, pattern: Any) -> bool:
    """PostgreSQL's `@>` on jsonb: objects hold at least the pattern's pairs, arrays at least its elements."""
    if isinstance(pattern, Mapping):
        return isinstance(value, Mapping) and all(k in value and contains(value[k], p) for k, p in pattern.items())
    if isinstance(pattern, Sequence) and not isinstance(pattern, str):
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        plain = {_told_apart(item) for item in value if not _holds_others(item)}
        nested = [item for item in value if _holds_others(item)]
        return all(
            any(contains(item, part) for item in nested) if _holds_others(part) else _told_apart(part) in plain
            for part in pattern
        )
    return not _holds_others(value) and _told_apart(value) == _told_apart(pattern)


def weight(pattern: Any) -> int:
    """Objects and lists in it: each may have to be compared with every one of a value's."""
    found, to_look_at = 0, [pattern]
    while to_look_at:
        one = to_look_at.pop()
        if _holds_others(one):
            found += 1
            to_look_at.extend(one.values() if isinstance(one, Mapping) else one)
    return found


def _holds_others(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str))


def _told_apart(value: Any) -> tuple[bool, Any]:
    """To Python, but not to JSON, `true` is 1."""
    return isinstance(value, bool), value


def matches(metadata: Mapping[str, Any], where: Where) -> bool:
    return any(all(contains(metadata, pattern) for pattern in patterns) for patterns in where)


def both(one: Where, other: Where) -> Where:
    return tuple((*left, *right) for left in one for right in other)
