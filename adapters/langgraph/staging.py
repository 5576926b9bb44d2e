"""What one attempt added to a thread's state and has not committed yet.

A superstep's checkpoint is superseded by the next one, usually before anybody could read it. So nothing is
serialized when it is staged; what `take` finds superseded and unreadable is dropped, and a survivor's parent
becomes its nearest kept ancestor: what LangGraph's own `durability="exit"` leaves. Dropped are

- a checkpoint that is not its namespace's head, with its writes: only time travel could ask for it;
- everything of a subgraph call whose superstep is over: its namespace holds the id of a task of a root
  checkpoint that is not the head any more.

Where a DeltaChannel lives, nothing is dropped: its value is rebuilt from the writes along the chain of parents.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from unbroken.adapters.langgraph.rows import inline, stored_as_blob, to_json
from unbroken.domain.checkpoints import ROOT, BlobRow, CheckpointRow, StateChange, WriteRow
from unbroken.domain.turn import Fork

WriteKey = tuple[str, int]
"""(task id, idx), unique beside one checkpoint."""


class StagedCheckpoint:
    __slots__ = ("_blobs", "checkpoint", "checkpoint_ns", "id", "metadata", "new_versions", "parent_id")

    def __init__(
        self,
        checkpoint_ns: str,
        parent_id: str | None,
        checkpoint: Checkpoint,
        metadata: dict[str, Any],
        new_versions: dict[str, Any],
    ) -> None:
        self.checkpoint_ns = checkpoint_ns
        self.id = checkpoint["id"]
        self.parent_id = parent_id
        self.checkpoint = checkpoint
        self.metadata = metadata
        self.new_versions = new_versions
        self._blobs: dict[str, BlobRow] = {}

    def row(self, parent_id: str | None) -> CheckpointRow:
        return CheckpointRow(self.checkpoint_ns, self.id, parent_id, inline(self.checkpoint), to_json(self.metadata))

    def blob(self, serde: SerializerProtocol, channel: str) -> BlobRow | None:
        """Dumped once, however often it is read. None: the value stands in the checkpoint's JSON, or is absent."""
        if channel not in self._blobs:
            value = self.checkpoint["channel_values"].get(channel)
            version = self.checkpoint["channel_versions"].get(channel)
            if version is None or not stored_as_blob(value):
                return None
            type_, data = serde.dumps_typed(value)
            self._blobs[channel] = BlobRow(self.checkpoint_ns, channel, str(version), type_, data)
        return self._blobs[channel]

    def blobs(self, serde: SerializerProtocol) -> Iterator[BlobRow]:
        for channel in self.checkpoint["channel_values"]:
            if (blob := self.blob(serde, channel)) is not None:
                yield blob

    @property
    def keeps_history(self) -> bool:
        return "counters_since_delta_snapshot" in self.metadata or any(
            isinstance(value, _DeltaSnapshot) for value in self.checkpoint["channel_values"].values()
        )


class StagedWrite:
    __slots__ = ("channel", "replaces", "task_path", "value")

    def __init__(self, task_path: str, channel: str, value: Any, replaces: bool) -> None:
        self.task_path = task_path
        self.channel = channel
        self.value = value
        self.replaces = replaces


class Staging:
    """One thread's. Heads stay known after `take`; checkpoints and writes are drained by it."""

    def __init__(self, root_head: str | None, *, whole: bool = False) -> None:
        """`whole`: every checkpoint is kept, and not only those that something goes on from."""
        self.whole = whole
        self.heads: dict[str, str] = {} if root_head is None else {ROOT: root_head}
        """The head of each namespace that was read or written; "": known to be empty."""
        self.adopted: set[str] = set()
        """Namespaces whose head is to be set though nothing new may stand there: the store chose it, because none was
        ever set, or a message that replaces an earlier one went back to it."""
        self.root_moved = False
        self.checkpoints: dict[tuple[str, str], StagedCheckpoint] = {}
        self.writes: dict[tuple[str, str], dict[WriteKey, StagedWrite]] = {}

    def put(self, staged: StagedCheckpoint) -> None:
        self.checkpoints[staged.checkpoint_ns, staged.id] = staged
        self.heads[staged.checkpoint_ns] = staged.id
        if staged.checkpoint_ns == ROOT:
            self.root_moved = True

    def start_from(self, fork: Fork) -> None:
        """Go on from these heads, and set them with the first change."""
        self.heads.update(fork.heads)
        self.adopted.update(checkpoint_ns for checkpoint_ns, _ in fork.heads)

    def put_write(self, checkpoint: tuple[str, str], key: WriteKey, write: StagedWrite) -> None:
        beside = self.writes.setdefault(checkpoint, {})
        if write.replaces or key not in beside:
            beside[key] = write

    def is_new_call(self, checkpoint_ns: str) -> bool:
        """The store cannot hold anything of this namespace: it names a task of a root checkpoint made here."""
        return self.root_moved and is_call(checkpoint_ns)

    def written(self, checkpoint_id: str, channel: str) -> dict[str, list[Any]]:
        """By task id, what tasks that started from this root checkpoint wrote to one channel; all tasks are there."""
        found: dict[str, list[Any]] = {}
        for (task_id, _), write in self.writes.get((ROOT, checkpoint_id), {}).items():
            values = found.setdefault(task_id, [])
            if write.channel == channel:
                values.append(write.value)
        return found

    def rows_of_writes(self, serde: SerializerProtocol, checkpoint: tuple[str, str]) -> list[WriteRow]:
        rows = []
        for (task_id, idx), write in self.writes.get(checkpoint, {}).items():
            type_, data = serde.dumps_typed(write.value)
            rows.append(
                WriteRow(*checkpoint, task_id, write.task_path, idx, write.channel, type_, data, write.replaces)
            )
        return rows

    def take(self, serde: SerializerProtocol) -> StateChange:
        """Everything that must become durable, serialized; empties the staging."""
        with_history = {staged.checkpoint_ns for staged in self.checkpoints.values() if staged.keeps_history}
        kept = [staged for staged in self.checkpoints.values() if self._readable(staged, with_history)]
        writes = [
            row
            for checkpoint in self.writes
            if self._writes_readable(checkpoint, with_history)
            for row in self.rows_of_writes(serde, checkpoint)
        ]
        heads = {staged.checkpoint_ns: staged.id for staged in kept}
        heads.update((checkpoint_ns, self.heads[checkpoint_ns]) for checkpoint_ns in self.adopted)
        change = StateChange(
            checkpoints=tuple(staged.row(self._kept_ancestor(staged, kept)) for staged in kept),
            blobs=tuple(self._new_blobs(serde, kept)),
            writes=tuple(writes),
            heads=tuple(heads.items()),
        )
        self.checkpoints.clear()
        self.writes.clear()
        self.adopted.clear()
        return change

    def _readable(self, staged: StagedCheckpoint, with_history: set[str]) -> bool:
        checkpoint_ns = staged.checkpoint_ns
        if self.whole:
            return True
        if is_call(checkpoint_ns) and self._call_is_over(staged.metadata):
            return False
        return checkpoint_ns in with_history or self.heads[checkpoint_ns] == staged.id

    def _writes_readable(self, checkpoint: tuple[str, str], with_history: set[str]) -> bool:
        checkpoint_ns, checkpoint_id = checkpoint
        if self.whole:
            return True
        staged = self.checkpoints.get(checkpoint)
        if staged is not None:
            return self._readable(staged, with_history)
        return checkpoint_ns in with_history or self.heads.get(checkpoint_ns, checkpoint_id) == checkpoint_id

    def _call_is_over(self, metadata: dict[str, Any]) -> bool:
        started_from, root = (metadata.get("parents") or {}).get(ROOT), self.heads.get(ROOT)
        return started_from is not None and root is not None and started_from != root

    def _kept_ancestor(self, staged: StagedCheckpoint, kept: list[StagedCheckpoint]) -> str | None:
        kept_ids = {one.id for one in kept if one.checkpoint_ns == staged.checkpoint_ns}
        parent_id = staged.parent_id
        while parent_id is not None and parent_id not in kept_ids:
            parent = self.checkpoints.get((staged.checkpoint_ns, parent_id))
            if parent is None:
                return parent_id
            parent_id = parent.parent_id
        return parent_id

    def _new_blobs(self, serde: SerializerProtocol, kept: list[StagedCheckpoint]) -> Iterator[BlobRow]:
        new = {
            (staged.checkpoint_ns, channel, version)
            for staged in self.checkpoints.values()
            for channel, version in staged.new_versions.items()
        }
        for staged in kept:
            for channel, version in staged.checkpoint["channel_versions"].items():
                if (staged.checkpoint_ns, channel, version) in new:
                    blob = staged.blob(serde, channel)
                    if blob is not None:
                        new.discard((staged.checkpoint_ns, channel, version))
                        yield blob


def is_call(checkpoint_ns: str) -> bool:
    """A subgraph's single call (its namespace holds a task id), not one with `checkpointer=True`."""
    return ":" in checkpoint_ns
