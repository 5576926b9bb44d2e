"""A thread is copied while something runs in it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.memory.store import MemoryStore
from unbroken.domain.checkpoints import BlobRow, CheckpointRow, StateChange, StoredCheckpoint
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.langgraph_api.thread_copies import PAGE, copied


def commit(number: int) -> StateChange:
    """As a turn's: its checkpoint, what is new in it, and the head."""
    id_ = f"{number:06}"
    row = CheckpointRow("", id_, None, b'{"channel_versions": {"c": "%d"}}' % number, b"{}")
    return StateChange((row,), (BlobRow("", "c", str(number), "msgpack", b"x"),), heads=(("", id_),))


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", [1, PAGE, 2 * PAGE + 1])
async def test_the_head_of_a_copy_is_in_it_although_the_original_went_on(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(SystemClock())
    key = SessionKey("ann", "one", "original")
    await store.threads.create(key)
    for number in range(turns):
        await store.checkpoints.put("original", commit(number))
    read, committed = store.checkpoints.history, iter(range(turns, turns + 1_000))

    async def read_late(*given: Any, **asked: Any) -> Sequence[StoredCheckpoint]:
        found = await read(*given, **asked)
        await store.checkpoints.put("original", commit(next(committed)))
        return found

    monkeypatch.setattr(store.checkpoints, "history", read_late)
    record = await store.thread_records.get("ann", "original")
    await copied(cast("Any", SimpleNamespace(**vars(store))), "ann", record, "copy", {})
    head = await store.checkpoints.load("copy", "", None)
    last = await store.checkpoints.load("original", "", None)
    assert head is not None
    assert last is not None
    assert (head.row.checkpoint_id, head.blobs) == (last.row.checkpoint_id, last.blobs)
