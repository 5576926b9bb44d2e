"""A thread's state and history, as a new thread that goes on by itself."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from unbroken.domain.catalogue import Metadata, ThreadRecord
from unbroken.domain.checkpoints import StateChange, StoredCheckpoint
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.service import Service

PAGE: Final = 20


async def copied(
    service: Service, user_id: str, record: ThreadRecord, thread_id: str, metadata: Metadata
) -> ThreadRecord:
    """What was said stays with the original: a copy has its state alone. The heads come last, so that one that was
    broken off is seen to be none; whatever runs in the original meanwhile, they are copied. Raises StoreUnavailable,
    CommitUnknown."""
    await service.thread_records.create(user_id, thread_id, metadata)
    if record.agent_id is not None:
        await service.threads.create(SessionKey(user_id, record.agent_id, thread_id))
        copied = await _copy_checkpoints(service, record.thread_id, thread_id)
        heads = []
        for checkpoint_ns in dict.fromkeys(name for name, _ in copied):
            head = await service.checkpoints.load(record.thread_id, checkpoint_ns, None)
            heads.append((checkpoint_ns, head.row.checkpoint_id if head else ""))
            if head is not None and heads[-1] not in copied:  # it came meanwhile
                await service.checkpoints.put(thread_id, _change(head))
        if heads:
            await service.checkpoints.put(thread_id, StateChange(heads=tuple(heads)))
    return await service.thread_records.get(user_id, thread_id)


async def _copy_checkpoints(service: Service, from_id: str, to_id: str) -> dict[tuple[str, str], None]:
    """Namespace and id of each."""
    copied: dict[tuple[str, str], None] = {}
    before: str | None = None
    while page := await service.checkpoints.history(from_id, None, before=before, limit=PAGE):
        before = page[-1].row.checkpoint_id
        for stored in page:
            await service.checkpoints.put(to_id, _change(stored))
            copied[stored.row.checkpoint_ns, stored.row.checkpoint_id] = None
    return copied


def _change(stored: StoredCheckpoint) -> StateChange:
    writes = tuple(replace(write, replaces=False) for write in stored.writes)
    return StateChange(checkpoints=(stored.row,), blobs=stored.blobs, writes=writes)
