"""What happened, as far as anyone outside can know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

Frame = dict[str, Any]

ENDS = frozenset({"final", "cancelled", "error"})
DURABLE = ENDS | {"question", "answered"}
LEGACY = frozenset({"token", "final", "error", "cancelled"})


class Line(Struct, frozen=True):
    """One thing that happened to one client. A trace holds one client's lines, in the order they happened."""

    kind: Literal["open", "sent", "frame", "closed"]
    """A connection with its query; a frame sent; a frame received; the connection's end."""
    at: float = 0.0
    """Wall time, s since 1970."""
    monotonic: float = 0.0
    query: dict[str, str] = {}
    frame: Frame = {}
    code: int | None = None


class Socket(Struct, frozen=True):
    """One connection of one client, from its query to its end."""

    view: str
    number: int
    """Counts the client's connections, from 1."""
    query: dict[str, str]
    lines: tuple[Line, ...]
    last: bool
    """No later connection of this client follows."""
    opened_at: float = 0.0

    @property
    def thread_id(self) -> str:
        return self.query.get("threadId", "")

    @property
    def name(self) -> str:
        return f"{self.view}#{self.number}"


class Session(Struct, frozen=True):
    thread_id: str
    user_id: str
    agent_id: str
    applied_seq: int
    log_index: int
    run: int
    head_event: int = 0
    log_floor: int = 0
    tries: int = 0
    """Attempts counted at the event after `applied_seq`; 0: nothing runs."""
    deleted: bool = False
    acked: int | None = None
    """None: nobody looked."""


class Event(Struct, frozen=True):
    thread_id: str
    seq: int
    id: str
    request_id: str
    type: str
    payload: dict[str, Any]


class Effect(Struct, frozen=True):
    thread_id: str
    event_seq: int
    ordinal: int
    log_index: int | None
    type: str
    payload: dict[str, Any]
    dedupe_key: str
    status: str | None = None
    """Of what clients do not see."""


class Timer(Struct, frozen=True):
    """One setting of a timer. A store may keep only the latest of each timer."""

    thread_id: str
    timer_id: str
    generation: int
    status: str
    """pending, cancelled or fired."""


class Tables(Struct, frozen=True):
    """What is stored at the end."""

    sessions: list[Session]
    events: list[Event]
    effects: list[Effect]
    state_messages: dict[str, list[str]] = {}
    """Thread → ids of the messages in the state that its head points to, where somebody decoded it."""
    model_messages: dict[str, list[Any]] = {}
    """Thread → those messages as LangChain has them, where they are for a real model."""
    timers: list[Timer] = []
    branches: dict[str, list[str]] = {}
    """Checkpoint that a run went on from → ids of the events' messages in its state."""
    counts: dict[str, dict[str, int]] = {}
    """Thread → table → rows, of what must not grow without bound."""

    @classmethod
    def of(cls, rows: Mapping[str, Any]) -> Tables:
        """From plain rows, one list a table; columns that no law needs are ignored."""
        return msgspec.convert(rows, cls)


class Call(Struct, frozen=True):
    """A model began to work on an event: what its provider would bill."""

    thread_id: str
    event_id: str
    attempt: int
    at: float
    """s, by the same clock as `Line.at`."""
    end: Literal["answered", "failed", "retryable", "cancelled", "lost", "asked"] = "lost"
    until: float = 0.0
    """When it ended, where that is known."""
    wrote: tuple[str, ...] | None = None
    """What it streamed before its attempt was over, a text for each message, in the order they began; what it took up
    again of its event comes first. None: nobody wrote it down."""
    answer: str | None = None
    """What it answered."""
    pace: tuple[tuple[float, int], ...] = ()
    """When its text had grown to how many code units, as far as that was written down."""


class Fault(Struct, frozen=True):
    """Something that was done to the system."""

    kind: str
    """kill, stall, restart, store_refused, store_doubt, outage, cut …"""
    at: float
    until: float
    """When it was over."""
    replica: str = ""
    """Empty: not a replica's."""
    thread_id: str = ""
    """Empty: it may concern every thread."""
    costs_attempts: bool = False
    """One attempt may be lost by it."""

    def meets(self, thread_id: str, begin: float, end: float) -> bool:
        return self.thread_id in ("", thread_id) and self.at <= end and self.until >= begin


class History(Struct, frozen=True):
    """Everything that anyone outside knows of a run."""

    sockets: Sequence[Socket]
    tables: Tables
    calls: Sequence[Call] = ()
    faults: Sequence[Fault] = ()
    settled: bool = True
    """The last fault is over and everything accepted had time to end."""
    watched_to_the_end: frozenset[str] = frozenset()
    """Names of the clients that were still connected then; they must have been told the whole log."""
    queue_limit: int | None = None
    complete: bool = True
    """What is not in `sockets`, `calls` and `faults` did not happen. False: nothing follows from what is missing."""
    replicas: int | None = None
    """How many processes served; None: nobody counted them."""
    otherwise: Mapping[str, Mapping[str, Any]] = {}
    """Request id → body of what was asked otherwise than over `sockets`: runs, and changes of the state."""
    confirmed: Mapping[str, int] = {}
    """Request id → number under which such a request was confirmed."""
    calls_per_attempt: int = 1
    """How often one attempt asks a model, at most."""
    checkpoints_per_event: int = 16
    """How many checkpoints one event leaves, its retries and the mending of its history included, at most."""


class Violation(Struct, frozen=True):
    law: str
    """The invariant's or rule's name, e.g. `I3` or `rule 6`."""
    thread_id: str
    what: str
    evidence: tuple[Any, ...] = ()

    def __str__(self) -> str:
        head = f"{self.law}  thread {self.thread_id}: {self.what}"
        return "\n".join([head, *(f"      {msgspec.json.encode(item).decode()[:500]}" for item in self.evidence)])


def sockets_of(view: str, lines: Iterable[Line]) -> list[Socket]:
    """A client's trace as its connections, in order. What comes before the first `open` belongs to none."""
    parts: list[tuple[Line, list[Line]]] = []
    for line in lines:
        if line.kind == "open":
            parts.append((line, []))
        elif parts:
            parts[-1][1].append(line)
    return [
        Socket(view, number, opening.query, tuple(following), number == len(parts), opening.at)
        for number, (opening, following) in enumerate(parts, 1)
    ]


def read_trace(path: Path) -> list[Socket]:
    """A trace file: one JSON object a line; fields that no law needs are ignored."""
    decode = msgspec.json.Decoder(Line).decode
    return sockets_of(path.stem, [decode(text) for text in path.read_bytes().splitlines() if text.strip()])


def units(text: str) -> bytes:
    """The text's UTF-16 code units, two bytes each."""
    return text.encode("utf-16-le", "surrogatepass")
