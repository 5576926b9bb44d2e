"""A store under contract, with what a law needs beyond the ports: real failures, and a look at the plumbing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol

from msgspec.structs import replace

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.memory.transactions import Transaction, one_turn_of_the_loop
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.ports.checkpoint_upkeep import CheckpointUpkeep
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.event_store import EventStore
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.replicas import Replicas
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.timers import Timers
from unbroken.domain.ports.unit_of_work import UnitOfWork


class Subject(Protocol):
    event_store: EventStore
    sessions: Sessions
    unit_of_work: UnitOfWork
    checkpoints: Checkpoints
    checkpoint_upkeep: CheckpointUpkeep
    outbox: Outbox
    timers: Timers
    replicas: Replicas

    def commits_fail(self) -> AbstractAsyncContextManager[None]:
        """Meanwhile every commit that writes an event or an effect fails, at the very end of its transaction."""

    async def entomb(self, thread_id: str) -> None:
        """Delete a thread: what stays is its tombstone."""

    def checked_out(self) -> int:
        """Connections that somebody holds."""


class MemorySubject(MemoryStore):
    def __init__(self) -> None:
        super().__init__(SystemClock(), commit_gate=self._gate)
        self._failing = False

    async def _gate(self, stage: Literal["before", "after"], operation: str) -> None:
        await one_turn_of_the_loop(stage, operation)
        if stage == "before" and self._failing:
            raise StoreUnavailable("no space left")

    @asynccontextmanager
    async def commits_fail(self) -> AsyncIterator[None]:
        self._failing = True
        yield
        self._failing = False

    async def entomb(self, thread_id: str) -> None:
        def step(transaction: Transaction) -> None:
            session = transaction.sessions.get(thread_id)
            assert session is not None
            transaction.put_session(replace(session, deleted=True))

        await self.database.run("entomb", step)

    def checked_out(self) -> int:
        return 0
