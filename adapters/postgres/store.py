"""The stores of one process, over one pool of connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Final

from unbroken.adapters.postgres.assistants import PostgresAssistants
from unbroken.adapters.postgres.audit import PostgresAudit
from unbroken.adapters.postgres.backlog import PostgresBacklogs
from unbroken.adapters.postgres.checkpoint_upkeep import PostgresCheckpointUpkeep
from unbroken.adapters.postgres.checkpoints import LOAD_HEAD, PUT, PostgresCheckpoints
from unbroken.adapters.postgres.controls import PostgresControls
from unbroken.adapters.postgres.event_store import ACCEPT, PostgresEventStore
from unbroken.adapters.postgres.files import PostgresFiles
from unbroken.adapters.postgres.group_commit import COMMIT
from unbroken.adapters.postgres.health import PostgresHealth
from unbroken.adapters.postgres.items import PostgresItems
from unbroken.adapters.postgres.outbox import PostgresOutbox
from unbroken.adapters.postgres.pool import Pool, open_pool
from unbroken.adapters.postgres.replicas import PostgresReplicas
from unbroken.adapters.postgres.runs import PostgresRuns
from unbroken.adapters.postgres.sessions import CLAIM, VIEW, PostgresSessions
from unbroken.adapters.postgres.thread_records import PostgresThreadRecords
from unbroken.adapters.postgres.threads import PostgresThreads
from unbroken.adapters.postgres.timers import PostgresTimers
from unbroken.adapters.postgres.unit_of_work import COMMIT_AND_PRUNE, PostgresUnitOfWork
from unbroken.adapters.postgres.user_data import PostgresUserData
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
from unbroken.domain.pruning import KEEP_BRANCHES

WARMED: Final = (ACCEPT, CLAIM, COMMIT, COMMIT_AND_PRUNE, PUT, VIEW, LOAD_HEAD)
"""What a new connection learns before its first call has to wait for it."""


NAMED: Final = """
SELECT oid::text AS oid, datname::text AS name,
    has_function_privilege('pg_control_system()', 'execute') AS may_ask
FROM pg_database WHERE datname = current_database()
"""


class PostgresStore:
    """Every guarantee of the store ports, for as long as the database keeps its own."""

    def __init__(self, pool: Pool, *, keep_branches: int | None = KEEP_BRANCHES) -> None:
        self.pool = pool
        self.event_store: EventStore = PostgresEventStore(pool)
        self.sessions: Sessions = PostgresSessions(pool)
        self.controls: Controls = PostgresControls(pool)
        self.unit_of_work: UnitOfWork = PostgresUnitOfWork(pool, keep_branches=keep_branches)
        self.checkpoints: Checkpoints = PostgresCheckpoints(pool)
        self.checkpoint_upkeep: CheckpointUpkeep = PostgresCheckpointUpkeep(pool)
        self.outbox: Outbox = PostgresOutbox(pool)
        self.timers: Timers = PostgresTimers(pool)
        self.replicas: Replicas = PostgresReplicas(pool)
        self.threads: Threads = PostgresThreads(pool)
        self.thread_records: ThreadRecords = PostgresThreadRecords(pool)
        self.assistants: Assistants = PostgresAssistants(pool)
        self.files: Files = PostgresFiles(pool)
        self.items: Items = PostgresItems(pool)
        self.user_data: UserData = PostgresUserData(pool)
        self.runs: Runs = PostgresRuns(pool)
        self.audit: Audit = PostgresAudit(pool)
        self.health: StoreHealth = PostgresHealth(pool)
        self.backlogs: Backlogs = PostgresBacklogs(pool)

    async def identity(self) -> str:
        """Sixteen hexadecimal digits that tell this database from others, wherever it is reached. Raises
        StoreUnavailable."""
        (row,) = await self.pool.read(NAMED)
        parts = [str(row["oid"]), row["name"]]
        if row["may_ask"]:
            (server,) = await self.pool.read("SELECT system_identifier::text AS id FROM pg_control_system()")
            parts.append(server["id"])
        return sha256("/".join(parts).encode()).hexdigest()[:16]


@asynccontextmanager
async def open_postgres(
    url: str, *, pool_size: int = 10, keep_branches: int | None = KEEP_BRANCHES
) -> AsyncIterator[PostgresStore]:
    """The stores of the database at `url`, whose schema is up to date (`migrate`).

    Raises InvalidValue for a malformed URL, StoreUnavailable with one line if it cannot be used.
    """
    pool = await open_pool(url, size=pool_size, statements=WARMED)
    try:
        yield PostgresStore(pool, keep_branches=keep_branches)
    finally:
        await pool.close()
