"""The last head of each session that ran here, so that its next turn need not read it back (design: "cached head").

A checkpoint never changes, but writes may come to stand beside it. So a remembered head counts only while the claim
names it under the epoch it was made in: until then nobody else can have written to the session.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import Any, Final

import msgspec
from langgraph.checkpoint.base import writes_sort_key

from unbroken.adapters.langgraph.known_messages import KnownMessages
from unbroken.domain.checkpoints import ROOT, CheckpointRow, StateChange, StoredCheckpoint
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.session import Claim

MAX_BYTES: Final = 64 << 20
ENTRY_BYTES: Final = 400
"""What remembering one head costs beside its rows: key, place in the order, tuples."""


DELTA_MARKS: Final = (b"counters_since_delta_snapshot", b"delta_writes_versioned")


class RecentHeads:
    """Bounded by the memory that it takes, in bytes; the least recently used head goes first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._heads: OrderedDict[str, tuple[int, StoredCheckpoint, KnownMessages, int]] = OrderedDict()

    def get(self, claim: Claim) -> tuple[StoredCheckpoint, KnownMessages] | None:
        held = self._heads.get(claim.key.thread_id)
        if held is None:
            return None
        epoch, head, known, _ = held
        if epoch != claim.epoch or head.row.checkpoint_id != claim.head:
            return None
        self._heads.move_to_end(claim.key.thread_id)
        return head, known

    def put(self, claim: Claim, head: StoredCheckpoint, known: KnownMessages) -> None:
        """Remember what the commit under way will make the head; `get` finds out whether it did."""
        self.drop(claim)
        size = _size(head) + known.size
        self._heads[claim.key.thread_id] = (claim.epoch, head, known.at_rest(), size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._bytes -= self._heads.popitem(last=False)[1][3]

    def drop(self, claim: Claim) -> None:
        held = self._heads.pop(claim.key.thread_id, None)
        if held is not None:
            self._bytes -= held[3]


class AttemptHead(Checkpoints):
    """Reads for one attempt: the root head from memory if it is known, everything else from the store.

    Follows the head through the attempt's commits: a new checkpoint's blobs are its own and those of the head
    before it, because a channel that did not change keeps its version.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        thread_id: str,
        head: str | None,
        remembered: tuple[StoredCheckpoint, KnownMessages] | None = None,
    ) -> None:
        self._checkpoints = checkpoints
        self._thread_id = thread_id
        self._first = head
        self.head = remembered[0] if remembered else None
        """None: unknown, or empty."""
        self.known = remembered[1] if remembered else KnownMessages()
        self._complete = self.head is not None or head == ""
        self._advanced = False
        """The first head is not the attempt's any more: reading it again says nothing of the new one."""

    async def load(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        if checkpoint_ns != ROOT:
            return await self._checkpoints.load(thread_id, checkpoint_ns, checkpoint_id)
        if self.head is not None and checkpoint_id == self.head.row.checkpoint_id:
            return self.head
        stored = await self._checkpoints.load(thread_id, checkpoint_ns, checkpoint_id)
        if checkpoint_id == self._first and not self._complete and not self._advanced:
            self.head, self._complete = stored, True
        return stored

    def advance(self, change: StateChange) -> None:
        """`change` is about to be committed."""
        self._follow(change)
        self.known.keep(self.head)

    def _follow(self, change: StateChange) -> None:
        rows = [row for row in change.checkpoints if row.checkpoint_ns == ROOT]
        writes = [write for write in change.writes if write.checkpoint_ns == ROOT]
        if not rows and not writes:
            return
        self._advanced = True
        moved = [row for row in rows if (ROOT, row.checkpoint_id) in change.heads]
        if len(moved) != 1 or not self._complete or (len(rows) > 1 and _spread(rows)):
            self.head, self._complete = None, False
            return
        (row,) = moved
        former = self.head.blobs if self.head is not None else ()
        blobs = {(blob.channel, blob.version): blob for blob in (*former, *change.blobs) if blob.checkpoint_ns == ROOT}
        versions: dict[str, Any] = msgspec.json.decode(row.checkpoint)["channel_versions"]
        thread_blobs = (blobs.get((channel, str(version))) for channel, version in versions.items())
        beside = [write for write in writes if write.checkpoint_id == row.checkpoint_id]
        self.head = StoredCheckpoint(
            thread_id=self._thread_id,
            row=row,
            blobs=tuple(blob for blob in thread_blobs if blob is not None),
            writes=tuple(sorted(beside, key=lambda write: writes_sort_key(write.task_path, write.task_id, write.idx))),
        )

    async def history(
        self,
        thread_id: str | None,
        checkpoint_ns: str | None,
        *,
        before: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Sequence[StoredCheckpoint]:
        return await self._checkpoints.history(thread_id, checkpoint_ns, before=before, metadata=metadata, limit=limit)

    async def sends(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> Sequence[tuple[str, bytes]]:
        return await self._checkpoints.sends(thread_id, checkpoint_ns, checkpoint_id)

    async def put(self, thread_id: str, change: StateChange) -> None:
        await self._checkpoints.put(thread_id, change)


def _size(head: StoredCheckpoint) -> int:
    """Bytes of memory. The data is the smaller part of a short conversation's head: objects cost more."""
    rows = (head.row, *head.blobs, *head.writes)
    return ENTRY_BYTES + sum(getsizeof(row) + sum(map(getsizeof, msgspec.structs.astuple(row))) for row in rows)


def _spread(rows: Sequence[CheckpointRow]) -> bool:
    """Whether a value may lie in the writes of several checkpoints, as a DeltaChannel's does."""
    return any(mark in row.metadata for row in rows for mark in DELTA_MARKS)
