"""The stores of one process, over one database in its memory."""

from __future__ import annotations

from unbroken.adapters.memory.assistants import MemoryAssistants
from unbroken.adapters.memory.audit import MemoryAudit
from unbroken.adapters.memory.backlog import MemoryBacklogs
from unbroken.adapters.memory.checkpoint_upkeep import MemoryCheckpointUpkeep
from unbroken.adapters.memory.checkpoints import MemoryCheckpoints
from unbroken.adapters.memory.controls import MemoryControls
from unbroken.adapters.memory.event_store import MemoryEventStore
from unbroken.adapters.memory.files import MemoryFiles
from unbroken.adapters.memory.health import MemoryHealth
from unbroken.adapters.memory.items import MemoryItems
from unbroken.adapters.memory.outbox import MemoryOutbox
from unbroken.adapters.memory.replicas import MemoryReplicas
from unbroken.adapters.memory.runs import MemoryRuns
from unbroken.adapters.memory.sessions import MemorySessions
from unbroken.adapters.memory.thread_records import MemoryThreadRecords
from unbroken.adapters.memory.threads import MemoryThreads
from unbroken.adapters.memory.timers import MemoryTimers
from unbroken.adapters.memory.transactions import CommitGate, Database, one_turn_of_the_loop
from unbroken.adapters.memory.unit_of_work import MemoryUnitOfWork
from unbroken.adapters.memory.user_data import MemoryUserData
from unbroken.domain.ports.assistants import Assistants
from unbroken.domain.ports.audit import Audit
from unbroken.domain.ports.backlog import Backlogs
from unbroken.domain.ports.checkpoint_upkeep import CheckpointUpkeep
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.clock import Clock
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


class MemoryStore:
    """Every guarantee of the store ports, for as long as this object lives.

    Several replicas may share one store, as they would share a database. `clock` is the store's clock: leases, claims
    and timers are decided by its monotonic time. `commit_gate` stands around every transaction.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        commit_gate: CommitGate = one_turn_of_the_loop,
        keep_branches: int | None = KEEP_BRANCHES,
        database: Database | None = None,
    ) -> None:
        """`database`: one that runs its transactions in its own way."""
        self.database = database or Database(commit_gate)
        self.event_store: EventStore = MemoryEventStore(self.database, clock)
        self.sessions: Sessions = MemorySessions(self.database, clock)
        self.controls: Controls = MemoryControls(self.database, clock)
        self.unit_of_work: UnitOfWork = MemoryUnitOfWork(self.database, clock, keep_branches=keep_branches)
        self.checkpoints: Checkpoints = MemoryCheckpoints(self.database)
        self.checkpoint_upkeep: CheckpointUpkeep = MemoryCheckpointUpkeep(self.database)
        self.outbox: Outbox = MemoryOutbox(self.database, clock)
        self.timers: Timers = MemoryTimers(self.database, clock)
        self.replicas: Replicas = MemoryReplicas(self.database, clock)
        self.runs: Runs = MemoryRuns(self.database)
        self.audit: Audit = MemoryAudit(self.database, clock)
        self.health: StoreHealth = MemoryHealth(self.database, clock)
        self.backlogs: Backlogs = MemoryBacklogs(self.database, clock)
        self.threads: Threads = MemoryThreads(self.database, clock)
        self.thread_records: ThreadRecords = MemoryThreadRecords(self.database, clock)
        self.assistants: Assistants = MemoryAssistants(self.database, clock)
        self.files: Files = MemoryFiles(self.database, clock)
        self.items: Items = MemoryItems(self.database, clock)
        self.user_data: UserData = MemoryUserData(self.database, clock)
