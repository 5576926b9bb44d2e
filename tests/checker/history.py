"""What happened, as far as anyone outside can know it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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

    @property
    def thread_id(self) -> str:
        return self.query["threadId"]

    @property
    def name(self) -> str:
        return f"{self.view}#{self.number}"

    def received(self) -> Iterator[Frame]:
        return (line.frame for line in self.lines if line.kind == "frame")

    def sent(self) -> Iterator[Frame]:
        return (line.frame for line in self.lines if line.kind == "sent")


class Session(Struct, frozen=True):
    thread_id: str
    user_id: str
    agent_id: str
    applied_seq: int
    log_index: int
    run: int
    head_event: int = 0
    log_floor: int = 0


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


class Tables(Struct, frozen=True):
    """What is stored at the end."""

    sessions: list[Session]
    events: list[Event]
    effects: list[Effect]
    state_messages: dict[str, list[str]] = {}
    """Thread → ids of the messages in the state that its head points to, where somebody decoded it."""

    @classmethod
    def of(cls, rows: Mapping[str, Any]) -> Tables:
        """From plain rows, one list a table; columns that no law needs are ignored."""
        return msgspec.convert(rows, cls)

    def thread(self, thread_id: str) -> Thread:
        events = sorted((row for row in self.events if row.thread_id == thread_id), key=lambda row: row.seq)
        effects = [row for row in self.effects if row.thread_id == thread_id]
        session = next((row for row in self.sessions if row.thread_id == thread_id), None)
        return Thread(thread_id, session, events, sorted(effects, key=lambda row: (row.event_seq, row.ordinal)))

    def threads(self) -> list[str]:
        return sorted({row.thread_id for rows in (self.sessions, self.events, self.effects) for row in rows})


class Thread(Struct, frozen=True):
    """One thread's rows."""

    thread_id: str
    session: Session | None
    events: list[Event]
    effects: list[Effect]

    def event_of(self, request_id: str) -> Event | None:
        return next((event for event in self.events if event.request_id == request_id), None)

    def logged(self) -> list[Effect]:
        """What clients were to see, in the log's order."""
        return sorted((row for row in self.effects if row.log_index is not None), key=lambda row: row.log_index or 0)


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
    parts: list[tuple[dict[str, str], list[Line]]] = []
    for line in lines:
        if line.kind == "open":
            parts.append((line.query, []))
        elif parts:
            parts[-1][1].append(line)
    return [
        Socket(view, number, query, tuple(following), number == len(parts))
        for number, (query, following) in enumerate(parts, 1)
    ]


def read_trace(path: Path) -> list[Socket]:
    """A trace file: one JSON object a line; fields that no law needs are ignored."""
    decode = msgspec.json.Decoder(Line).decode
    return sockets_of(path.stem, [decode(text) for text in path.read_bytes().splitlines() if text.strip()])


def units(text: str) -> bytes:
    """The text's UTF-16 code units, two bytes each."""
    return text.encode("utf-16-le", "surrogatepass")
