"""A store under contract, with what a law needs beyond the ports: real failures, and a look at the plumbing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol

import asyncpg
from msgspec.structs import replace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.memory.transactions import Transaction, one_turn_of_the_loop
from unbroken.adapters.postgres.store import PostgresStore
from unbroken.adapters.telemetry.accepting import ObservedEventStore
from unbroken.adapters.telemetry.acknowledging import ObservedOutbox, Written
from unbroken.adapters.telemetry.attempts import ObservedUnitOfWork
from unbroken.adapters.telemetry.telemetry import Telemetry
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.ports.assistants import Assistants
from unbroken.domain.ports.audit import Audit
from unbroken.domain.ports.backlog import Backlogs
from unbroken.domain.ports.checkpoint_upkeep import CheckpointUpkeep
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.controls import Controls
from unbroken.domain.ports.event_store import EventStore
from unbroken.domain.ports.files import Files
from unbroken.domain.ports.items import Items
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.replicas import Replicas
from unbroken.domain.ports.runs import Runs
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.store_health import StoreHealth
from unbroken.domain.ports.thread_records import ThreadRecords
from unbroken.domain.ports.threads import Threads
from unbroken.domain.ports.timers import Timers
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.ports.user_data import UserData


class Subject(Protocol):
    event_store: EventStore
    controls: Controls
    sessions: Sessions
    unit_of_work: UnitOfWork
    checkpoints: Checkpoints
    checkpoint_upkeep: CheckpointUpkeep
    outbox: Outbox
    timers: Timers
    replicas: Replicas
    health: StoreHealth
    backlogs: Backlogs
    threads: Threads
    thread_records: ThreadRecords
    assistants: Assistants
    files: Files
    items: Items
    user_data: UserData
    runs: Runs
    audit: Audit

    def commits_fail(self) -> AbstractAsyncContextManager[None]:
        """Meanwhile every commit that writes an event or an effect fails, at the very end of its transaction."""

    async def entomb(self, thread_id: str) -> None:
        """Delete a thread: what stays is its tombstone."""

    def checked_out(self) -> int:
        """Connections that somebody holds."""


async def given_back(subject: Subject) -> None:
    """Wait until nobody holds a connection: what a cancelled caller had begun may still be under way."""
    async with asyncio.timeout(10):
        while subject.checked_out():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


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


class ObservedSubject(MemorySubject):
    """As the container hands it out while telemetry is on."""

    def __init__(self) -> None:
        super().__init__()
        telemetry = Telemetry(TracerProvider().get_tracer("contracts"), MeterProvider().get_meter("contracts"))
        self.event_store = ObservedEventStore(self.event_store)
        self.unit_of_work = ObservedUnitOfWork(self.unit_of_work, telemetry)
        self.outbox = ObservedOutbox(self.outbox, telemetry, Written())


DISK_FULL_AT_COMMIT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON events
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
"""


EMPTY = """
DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT tablename FROM pg_tables
             WHERE schemaname = 'public'
             AND tablename NOT IN ('alembic_version', 'checkpoint_migrations', 'store_migrations') LOOP
        EXECUTE format('DELETE FROM %I', t.tablename);
    END LOOP;
END $$
"""


class PostgresSubject(PostgresStore):
    def __init__(self, store: PostgresStore, url: str) -> None:
        super().__init__(store.pool)
        self.url = url

    @asynccontextmanager
    async def commits_fail(self) -> AsyncIterator[None]:
        await self._say(DISK_FULL_AT_COMMIT)
        yield
        await self._say("DROP FUNCTION refuse CASCADE")

    async def wipe(self) -> None:
        """Delete every row but those that the migrations wrote."""
        await self._say(EMPTY)

    async def entomb(self, thread_id: str) -> None:
        await self._say("UPDATE sessions SET deleted_at = now(), epoch = epoch + 1 WHERE thread_id = $1", thread_id)

    def checked_out(self) -> int:
        return self.pool.checked_out()

    async def _say(self, statement: str, *arguments: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()
