"""What an attempt yields, what one commit of it holds, and the switch that ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

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
    """Everything that is open now, whoever asked it; with the agent's own ids."""
    effects: tuple[NodeEffect, ...] = ()
    token_usage: dict[str, int] | None = None
    stands: bool = False
    """Of a change of the state: something is to run next, and nobody is asked whether to go on."""


class Fork(Struct, frozen=True):
    """Where a message that replaces an earlier one goes on from."""

    heads: tuple[tuple[str, str], ...]
    """(namespace, checkpoint id) of every head before the earlier event, the root's first; "": empty."""


class Settling(Struct, frozen=True):
    """An attempt that ended without an answer, and whose history is to be made whole."""

    claim: Claim
    head: str | None
    """Root head as the attempt's supersteps have committed it, in the notation of `Claim.head`."""
    texts: tuple[tuple[str, str], ...]
    """(message id, text) of everything that was shown, committed or not, in order."""
    reason: Literal["cancelled", "failed"]
    fork: Fork | None = None
    """Where the attempt began, if not at the claim's head: nothing may be committed of it yet."""


class Settled(Struct, frozen=True):
    state: StateChange
    """Empty: the state holds nothing of the event, and keeps it so."""
    text: str
    """What the state then holds of the event's messages, joined like an attempt's text."""


class TurnChange(Struct, frozen=True):
    """One fenced transaction of a turn.

    `finishes` False: a superstep; only the state moves. True: the event reaches its end, with its effects.
    `reverts` True: every head goes back to where it stood before the event (a failure); `state` is then empty.
    `cancels` True: the end that a cancel asked for; without it, a finish that meets a cancel is refused.
    `open_questions`: what waits for an answer after a finish; None: as before.
    """

    claim: Claim
    state: StateChange
    finishes: bool
    effects: tuple[NewEffect, ...] = ()
    reverts: bool = False
    cancels: bool = False
    open_questions: tuple[str, ...] | None = None
    trace_context: dict[str, str] = {}
    """Of the commit: its effects carry it to whoever delivers or executes them; empty: they carry the event's."""

    @property
    def carrier(self) -> dict[str, str]:
        return self.trace_context or self.claim.event.trace_context


class Committed(Struct, frozen=True):
    entries: tuple[LogEntry, ...] = ()
    """This commit's effects that clients see, numbered."""
    next: Claim | None = None
    """The next waiting event, its attempt counted by the same transaction."""
