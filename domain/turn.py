"""What an attempt yields, what one commit of it holds, and the switch that ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from unbroken.domain.checkpoints import StateChange
from unbroken.domain.effects import LogEntry, NewEffect, ScheduleTimer
from unbroken.domain.errors import Fenced
from unbroken.domain.events import ContentBlock
from unbroken.domain.session import Claim


class Gate:
    """The one switch of an attempt. Closing it is one synchronous step and final.

    From then on its saver raises `Fenced`, its writers drop what they are given, and its result is ignored,
    whatever threads or tasks the agent left behind.
    """

    __slots__ = ("_on_close", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        self._on_close: list[Callable[[], None]] = []

    @property
    def open(self) -> bool:
        return self.reason is None

    def close(self, reason: str) -> None:
        """Idempotent; the first reason stands."""
        if self.reason is not None:
            return
        self.reason = reason
        for callback in self._on_close:
            callback()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the gate closes; at once if it has."""
        if self.open:
            self._on_close.append(callback)
        else:
            callback()

    def check(self) -> None:
        """Raises Fenced if the gate is closed."""
        if self.reason is not None:
            raise Fenced(f"this attempt has ended: {self.reason}")


class Question(Struct, frozen=True):
    """Something the agent wants to know before it goes on."""

    interrupt_id: str
    value: Any


class NodeEffect(Struct, frozen=True):
    """An effect that a node returned, with the place it came from."""

    body: ScheduleTimer
    node_path: str
    occurrence: int
    """Counts, within the event, the runs of this node that returned effects."""
    ordinal: int
    """Counts within one such run."""


class Answer(Struct, frozen=True):
    """What an agent made of one event."""

    text: str
    """The texts of this turn's root messages as the state holds them, joined by a blank line."""
    content: list[ContentBlock]
    state: StateChange
    """Everything not yet committed."""
    questions: tuple[Question, ...] = ()
    effects: tuple[NodeEffect, ...] = ()
    token_usage: dict[str, int] | None = None


class TurnChange(Struct, frozen=True):
    """One fenced transaction of a turn.

    `finishes` False: a superstep; only the state moves. True: the event reaches its end, with its effects.
    `reverts` True: every head goes back to where it stood before the event (a failure); `state` is then empty.
    """

    claim: Claim
    state: StateChange
    finishes: bool
    effects: tuple[NewEffect, ...] = ()
    reverts: bool = False


class Committed(Struct, frozen=True):
    entries: tuple[LogEntry, ...] = ()
    """This commit's effects that clients see, numbered."""
    next: Claim | None = None
    """The next waiting event, its attempt counted by the same transaction."""
