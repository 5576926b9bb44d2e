"""The rows, as immutable values: a transaction makes new ones and never touches those that others may read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from unbroken.adapters.memory.encoding import decode_event, decode_logged, decode_trace
from unbroken.domain.audit import AttemptNote, DeliveryMark
from unbroken.domain.effects import EffectStatus, LogEntry
from unbroken.domain.errors import CancelKind
from unbroken.domain.events import Event
from unbroken.domain.items import Item, Vector
from unbroken.domain.session import SessionKey


class Request(Struct, frozen=True):
    """What an idempotency key stands for, as long as the thread exists (I2)."""

    seq: int
    body_hash: bytes


class Effect(Struct, frozen=True):
    event_seq: int
    ordinal: int
    id: str
    log_index: int | None
    checkpoint_id: str | None
    base_id: str
    """Root head before the event; "": empty."""
    type: str
    body: bytes
    dedupe_key: str
    status: EffectStatus
    created_at: datetime
    updated_at: datetime
    attempt_count: int = 0
    last_attempt_at: datetime | None = None
    due: float = 0.0
    """By the store's monotonic clock, like every moment below that decides something."""
    claimed_by: int | None = None
    claim_no: int = 0
    claimed_until: float = 0.0
    attempts: tuple[AttemptNote, ...] = ()
    """Of the event, at its first effect."""
    cancelled_at: datetime | None = None
    last_error: str | None = None
    trace_context: bytes = b"{}"


class Timer(Struct, frozen=True):
    timer_id: str
    generation: int
    status: str
    """pending, cancelled or fired."""
    fire_at: float
    payload: bytes
    created_by: tuple[str, ...]
    """Every effect that ever set it; the last one made this generation."""

    @property
    def pending(self) -> bool:
        return self.status == "pending"


class Session(Struct, frozen=True):
    key: SessionKey
    created_at: datetime
    title: str | None = None
    owner: int | None = None
    epoch: int = 0
    run: int = 0
    tries: int = 0
    applied_seq: int = 0
    head_event: int = 0
    log_index: int = 0
    log_floor: int = 0
    deleted: bool = False
    open_questions: tuple[str, ...] = ()
    controls: Mapping[int, CancelKind] = {}
    """Cancels of unfinished events, by `seq`."""
    cancelled_at: Mapping[int, datetime] = {}
    """When each of them was accepted."""
    attempts: tuple[AttemptNote, ...] = ()
    """At `applied_seq + 1`."""
    last_user_seq: int = 0
    """Of the newest event that a user sent: what overtakes timers (I10)."""
    events: tuple[bytes, ...] = ()
    """Event `seq` stands at `seq - 1`: gap-free by construction (I3)."""
    received: tuple[datetime | None, ...] = ()
    """When each of them had come."""
    requests: Mapping[str, Request] = {}
    effects: Mapping[str, Effect] = {}
    """By dedupe key, in the order of (event, ordinal)."""
    log: tuple[str, ...] = ()
    """Dedupe keys; the entry `log_index` stands at `log_index - 1`."""
    owed: tuple[str, ...] = ()
    """Dedupe keys of unlogged, unfinished effects, oldest first."""
    timers: Mapping[str, Timer] = {}

    @property
    def last_seq(self) -> int:
        return len(self.events)

    @property
    def waiting(self) -> int:
        """How many accepted events have not reached their end."""
        return len(self.events) - self.applied_seq

    @property
    def armed(self) -> bool:
        return any(timer.pending for timer in self.timers.values())

    def event(self, seq: int) -> Event:
        return decode_event(self.events[seq - 1])

    def entry(self, log_index: int) -> LogEntry:
        """One entry of the log, decoded anew, as the event is."""
        row = self.effects[self.log[log_index - 1]]
        return LogEntry(log_index, self.event(row.event_seq), decode_logged(row.body), decode_trace(row.trace_context))


class Head(Struct, frozen=True):
    """The checkpoint that counts, and where it stood when the last event ended; "": known to be empty."""

    checkpoint_id: str
    base_id: str


class AgentState(Struct, frozen=True):
    """The official checkpoint tables of one thread, and its heads. A missing head was never set."""

    heads: Mapping[str, Head] = {}
    checkpoints: Mapping[tuple[str, str], bytes] = {}
    """By (namespace, checkpoint id)."""
    blobs: Mapping[tuple[str, str, str], bytes] = {}
    """By (namespace, channel, version)."""
    writes: Mapping[tuple[str, str], Mapping[tuple[str, int], bytes]] = {}
    """By (namespace, checkpoint id), then (task id, idx)."""

    def highest(self, checkpoint_ns: str, *, below: str | None = None) -> str:
        """The highest id of a namespace, `below` another if that is given; "" if there is none."""
        ids = (id_ for ns, id_ in self.checkpoints if ns == checkpoint_ns and (below is None or id_ < below))
        return max(ids, default="")


class File(Struct, frozen=True):
    name: str
    mime_type: str
    data: bytes
    created_at: datetime


class Record(Struct, frozen=True):
    """What clients noted of a thread."""

    user_id: str
    metadata: bytes
    created_at: datetime
    updated_at: datetime


class StoredAssistant(Struct, frozen=True):
    version: int
    """The one that counts, from 1 on."""
    versions: tuple[tuple[bytes, datetime], ...]
    created_at: datetime
    updated_at: datetime


class StoredItem(Struct, frozen=True):
    item: Item
    expires_at: datetime | None
    ttl_s: float | None
    vectors: tuple[Vector, ...]
    """Each of length 1."""


class Marks(Struct, frozen=True):
    """How far a session's log was written to sockets, and acknowledged."""

    sent: int = 0
    acked: int = 0
    raised: tuple[DeliveryMark, ...] = ()
    """Each time one of them was."""


class Lease(Struct, frozen=True):
    """A boot that has neither left nor been voided by a later one; expired or not."""

    name: str
    boot: int
    expires: float
