"""One session of a store under contract, in the words of its laws."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar
from uuid import uuid4

from tests.contracts.subjects import Subject
from unbroken.domain.checkpoints import BlobRow, CheckpointRow, StateChange
from unbroken.domain.effects import EffectBody, NewEffect, SendMessage, dedupe_key
from unbroken.domain.errors import CancelKind
from unbroken.domain.events import EventBody, NewEvent, UserMessage, WhenBusy
from unbroken.domain.ports.controls import Mark
from unbroken.domain.ports.event_store import Receipt
from unbroken.domain.ports.replicas import Replica
from unbroken.domain.session import Claim, SessionKey, SessionView
from unbroken.domain.turn import Committed, TurnChange

T = TypeVar("T")

PLENTY = 1_000


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:12]}"


def said(text: str, attempt: int = 1) -> SendMessage:
    return SendMessage(text=text, content=[{"role": "assistant", "content": text}], attempt=attempt, latency_ms=7)


def owed(claim: Claim, *bodies: EffectBody) -> tuple[NewEffect, ...]:
    return tuple(
        NewEffect(unique("effect"), ordinal, body, dedupe_key(claim.event.id, "node", 1, ordinal, type(body).__name__))
        for ordinal, body in enumerate(bodies)
    )


def state_at(number: int, *, ns: str = "", parent: int | None = None, run_id: str = "run") -> StateChange:
    """One checkpoint with one channel's value, and the head on it."""
    id_, version = checkpoint_id(number), f"{number:032}"
    checkpoint = b'{"v": 4, "channel_versions": {"messages": "%s"}}' % version.encode()
    parent_id = None if parent is None else checkpoint_id(parent)
    row = CheckpointRow(ns, id_, parent_id, checkpoint, b'{"step": %d, "run_id": "%s"}' % (number, run_id.encode()))
    blob = BlobRow(ns, "messages", version, "msgpack", b"value %d" % number)
    return StateChange(checkpoints=(row,), blobs=(blob,), heads=((ns, id_),))


def checkpoint_id(number: int) -> str:
    return f"1f0{number:05}-0000-6000-8000-000000000000"


async def replica_of(store: Subject, name: str = "", *, lease_ttl_s: float = 60.0) -> Replica:
    return await store.replicas.join(name or unique("replica"), lease_ttl_s=lease_ttl_s)


async def after_turns(turns: int, call: Awaitable[T]) -> T:
    """Begin `call` a few turns of the loop later: it then meets the others at another place."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return await call


class Conversation:
    def __init__(self, store: Subject, replica: Replica, key: SessionKey | None = None) -> None:
        self.store = store
        self.replica = replica
        self.key = key or SessionKey("ann", "demo", unique("thread"))

    @classmethod
    async def begin(cls, store: Subject) -> Conversation:
        return cls(store, await replica_of(store))

    @property
    def thread_id(self) -> str:
        return self.key.thread_id

    def new(self, body: EventBody | None = None, *, request_id: str = "") -> NewEvent:
        return NewEvent(unique("event"), request_id or unique("request"), body or UserMessage("a question"))

    async def accept(
        self,
        new: NewEvent | None = None,
        *,
        replica: Replica | None = None,
        queue_limit: int = PLENTY,
        key: SessionKey | None = None,
        when_busy: WhenBusy = WhenBusy.ENQUEUE,
    ) -> Receipt:
        return await self.store.event_store.accept(
            key or self.key,
            new or self.new(),
            replica=(replica or self.replica).id,
            queue_limit=queue_limit,
            when_busy=when_busy,
        )

    async def accepted(self, new: NewEvent | None = None) -> Claim:
        """Accept on an idle session: the claim."""
        claim = (await self.accept(new)).claim
        assert claim is not None
        return claim

    async def claim(self, replica: Replica | None = None) -> Claim | None:
        return await self.store.sessions.claim(self.thread_id, replica=(replica or self.replica).id)

    async def superstep(self, claim: Claim, state: StateChange) -> None:
        await self.store.unit_of_work.commit(TurnChange(claim, state, finishes=False))

    async def finish(
        self,
        claim: Claim,
        *bodies: EffectBody,
        state: StateChange | None = None,
        reverts: bool = False,
        cancels: bool = False,
        open_questions: tuple[str, ...] | None = None,
    ) -> Committed:
        effects = owed(claim, *(bodies or (said(f"answer {claim.event.seq}", claim.run),)))
        return await self.store.unit_of_work.commit(
            TurnChange(claim, state or StateChange(), True, effects, reverts, cancels, open_questions)
        )

    async def cancel(self, request_id: str, *, key: SessionKey | None = None, kind: CancelKind = "cancel") -> Mark:
        return await self.store.controls.cancel(key or self.key, request_id, kind)

    async def marks(self, replica: Replica | None = None) -> list[Mark]:
        """Of this conversation."""
        found = await self.store.controls.marked(replica=(replica or self.replica).id)
        return [mark for mark in found if mark.thread_id == self.thread_id]

    async def view(self) -> SessionView:
        view = await self.store.sessions.view(self.thread_id)
        assert view is not None
        return view

    async def log(self) -> list[tuple[int, Any]]:
        """(log index, text or body) of everything that clients see."""
        entries = await self.store.outbox.read(self.thread_id, after=0, limit=PLENTY)
        return [(entry.log_index, getattr(entry.body, "text", entry.body)) for entry in entries]

    async def head(self, ns: str = "") -> str | None:
        stored = await self.store.checkpoints.load(self.thread_id, ns, None)
        return stored.row.checkpoint_id if stored else None

    async def is_stray_for(self, replica: Replica) -> bool:
        return self.thread_id in (await self.store.sessions.strays(replica=replica.id, limit=PLENTY)).threads
