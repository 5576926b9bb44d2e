"""Who a conversation belongs to, and the right to work on it.

The life of one event, as its session sees it:

    accept ──▶ waiting ──count the attempt──▶ running ──finishing commit──▶ applied
                  ▲        run+1, tries+1        │  ▲
                  │                              │  └── superstep commit (head moves, base stays)
                  ├── crash, fence or retry ─────┤
                  └── handed over: tries-1 ──────┘

`applied_seq` is the last event that reached its end; only `applied_seq + 1` may run. `tries` is 0 while
nothing runs, else the number of tries at `applied_seq + 1`. `run` only grows: it is the wire's `attempt`.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote
from zlib import crc32

from msgspec import Struct

from unbroken.domain.errors import CancelKind, InvalidValue
from unbroken.domain.events import Event

MAX_ID_LENGTH = 128
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+(?::[A-Za-z0-9_.~-]+){2}", re.ASCII)


class SessionKey(Struct, frozen=True, order=True):
    """`userId:agentId:threadId`; the three parts never mix, whatever characters they hold (K1)."""

    user_id: str
    agent_id: str
    thread_id: str

    def __post_init__(self) -> None:
        for field in ("user_id", "agent_id", "thread_id"):
            check_id(field, getattr(self, field))

    def __str__(self) -> str:
        plain = f"{self.user_id}:{self.agent_id}:{self.thread_id}"
        if _PLAIN.fullmatch(plain):  # each log line names its session, and most names need no escape
            return plain
        return ":".join(quote(part, safe="") for part in (self.user_id, self.agent_id, self.thread_id))

    @classmethod
    def parse(cls, text: str) -> SessionKey:
        """The inverse of `str(key)`. Raises InvalidValue unless `text` is how some key is written."""
        parts = text.split(":")
        if len(parts) != 3:
            raise InvalidValue("session_key", f"{text!r} is not userId:agentId:threadId")
        key = cls(*(unquote(part) for part in parts))
        if str(key) != text:
            raise InvalidValue("session_key", f"{text!r} is not how {key} is written")
        return key


def check_id(field: str, value: str) -> None:
    """Raises InvalidValue, which names `field`, unless `value` can be a part of a session's key."""
    if not value:
        raise InvalidValue(field, "must not be empty")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidValue(field, f"is {len(value)} characters long; the limit is {MAX_ID_LENGTH}")
    if "\x00" in value or (not value.isascii() and _ill_formed(value)):
        raise InvalidValue(field, "holds U+0000 or half a surrogate pair")


def _ill_formed(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)


class Claim(Struct, frozen=True):
    """The right to run one attempt, counted durably before it runs (I14).

    A claim is a fencing token: every write made with it names `owner`, `epoch` and `event.seq`, and the
    store refuses it once any of them has moved on (I5).
    """

    key: SessionKey
    owner: int
    """The replica's id: one name and one boot of it."""
    epoch: int
    event: Event
    """Always number `applied_seq + 1`."""
    run: int
    """The wire's `attempt`: one integer a thread, only grows."""
    tries: int
    """1 for the first try at this event. What was handed over does not count."""
    head: str | None
    """Root checkpoint id. None: no head was ever set, adopt the highest id. "": known to be empty."""
    base_head: str | None
    """The head before this event, in the same notation; where a failed event goes back to."""
    head_event: int
    """The `seq` of the event whose run wrote the head."""
    log_index: int
    """The log's end when the attempt was counted."""
    superseded: bool = False
    """A user's message with a higher `seq` was accepted already: a fired timer then ends unstarted."""
    taken_over: bool = False
    """The attempt before this one belonged to another owner."""
    handed_over: int = 0
    """Attempts at this event that their owners gave back: deploys, and no fault of the message's."""
    cancel: CancelKind | None = None
    """A cancel of this event was accepted before the attempt was counted."""
    open_questions: tuple[str, ...] = ()
    """Interrupt ids of the questions that wait for an answer, as clients know them."""

    @property
    def applied_seq(self) -> int:
        return self.event.seq - 1

    @property
    def begins(self) -> bool:
        """No attempt at this event came before this one, handed over or not."""
        return self.tries == 1 and not self.handed_over

    @property
    def resumes(self) -> bool:
        """A crash happened inside this event after one of its supersteps was committed."""
        return self.head_event > self.applied_seq


class Position(Struct, frozen=True, order=True):
    """How far somebody knows a session."""

    log_index: int
    applied_seq: int
    last_seq: int
    """Of the newest event that is known to be accepted."""
    run: int
    """Of the newest attempt that is known to be counted."""


class Strays(Struct, frozen=True):
    """Sessions with unfinished events that one replica may claim now, and who else may."""

    own: tuple[str, ...] = ()
    """Threads that it owns already: nobody else may take these while it is alive."""
    left: tuple[str, ...] = ()
    """Threads that nobody alive owns: every living replica may take these."""
    rank: int = 0
    """How many of the living come before it, in the order of their ids."""
    living: int = 1
    """How many are alive, itself included; at least 1."""

    @property
    def threads(self) -> tuple[str, ...]:
        return self.own + self.left

    def falls_here(self, thread_id: str) -> bool:
        """Whether this one of those that were left is this replica's share: each replica that sees the same ones alive
        finds another share, and together they are all."""
        return crc32(thread_id.encode()) % self.living == self.rank


class SessionView(Struct, frozen=True):
    """What a connection needs to begin, taken as one snapshot."""

    key: SessionKey
    log_index: int
    log_floor: int
    """Log entries up to and including this one were removed."""
    acked: int
    applied_seq: int
    run: int
    pending: tuple[Event, ...]
    """Accepted, unfinished events in `seq` order."""
    owner: int | None = None
    """The replica for which attempt `run` was counted, alive or not. None: nobody's yet, or given back."""
