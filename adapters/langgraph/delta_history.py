"""What a DeltaChannel is rebuilt from: the nearest stored value up the chain of parents, and the writes since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol

from unbroken.domain.checkpoints import StoredCheckpoint

PAGE = 64


async def delta_history(
    serde: SerializerProtocol,
    channels: Sequence[str],
    *,
    start: str | None,
    load: Callable[[str | None], Awaitable[StoredCheckpoint | None]],
    page: Callable[[str, int], Awaitable[Sequence[StoredCheckpoint]]],
) -> Mapping[str, DeltaChannelHistory]:
    """Writes oldest first, those beside the start excluded; no seed where no ancestor holds a value.

    Ancestors nearly always sort right below their children, so `page` (newest first, below an id) fetches them
    many at a time; `load` finds those that do not.
    """
    writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
    seeds: dict[str, Any] = {}
    current = await load(start) if channels else None
    known: dict[str, StoredCheckpoint] = {}
    while current is not None and current.row.parent_id and len(seeds) < len(writes):
        parent_id = current.row.parent_id
        current = await load(parent_id) if parent_id not in known else known[parent_id]
        if current is None:
            break
        if parent_id not in known:
            known = {one.row.checkpoint_id: one for one in await page(parent_id, PAGE)}
        for channel, newest_first in writes.items():
            if channel not in seeds:
                newest_first.extend(_newest_first(serde, current, channel))
                _seed(serde, current, channel, seeds)
    return {channel: _entry(channel, writes[channel], seeds) for channel in channels}


def _newest_first(serde: SerializerProtocol, stored: StoredCheckpoint, channel: str) -> list[PendingWrite]:
    return [
        (write.task_id, write.channel, serde.loads_typed((write.type, write.blob)))
        for write in reversed(stored.writes)
        if write.channel == channel
    ]


def _seed(serde: SerializerProtocol, stored: StoredCheckpoint, channel: str, seeds: dict[str, Any]) -> None:
    """A blob wins over the JSON, where a snapshot leaves only `true`."""
    for blob in stored.blobs:
        if blob.channel == channel and blob.type != "empty":
            seeds[channel] = serde.loads_typed((blob.type, blob.blob or b""))
            return
    inlined = (msgspec.json.decode(stored.row.checkpoint).get("channel_values") or {}).get(channel)
    if inlined is not None:
        seeds[channel] = inlined


def _entry(channel: str, newest_first: list[PendingWrite], seeds: dict[str, Any]) -> DeltaChannelHistory:
    entry: DeltaChannelHistory = {"writes": newest_first[::-1]}
    if channel in seeds:
        entry["seed"] = seeds[channel]
    return entry
