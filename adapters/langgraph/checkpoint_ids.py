"""Checkpoint ids are UUIDv6: they sort by the wall clock of whoever made them.

We never ask for "the highest id", but the official saver does, and people look at threads with it. So before a
turn the process's id clock is raised above the head's id: whatever this machine's clock says, our next checkpoint
sorts after the one it continues.
"""

from __future__ import annotations

from uuid import UUID

from langgraph.checkpoint.base import id as langgraph_ids


def ticks(checkpoint_id: str) -> int | None:
    """The 100 ns ticks in a UUIDv6. None: the id is something else, and has no clock in it."""
    try:
        value = UUID(checkpoint_id)
    except ValueError:
        return None
    if value.version != 6:
        return None
    return (value.time_low << 28) | (value.time_mid << 12) | (value.time_hi_version & 0x0FFF)


def raise_clock_above(checkpoint_id: str) -> None:
    """Every id made in this process from now on sorts after `checkpoint_id`. Never lowers the clock."""
    seen = ticks(checkpoint_id)
    if seen is None:
        return
    last: int | None = langgraph_ids._last_v6_timestamp
    if last is None or last < seen:
        setattr(langgraph_ids, "_last_v6_timestamp", seen)  # noqa: B010 (untyped there: it starts as None)
