"""Which state a thread's turn is in, seen by the all-knowing: where faults are aimed, and what coverage counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from tests.simulation.loop import Actor, actor
from unbroken.adapters.memory.tables import Session
from unbroken.domain.errors import CancelKind
from unbroken.domain.events import NewEvent, WhenBusy
from unbroken.domain.ports.controls import Controls, Mark
from unbroken.domain.ports.event_store import EventStore, Receipt
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.session import Claim, Position, SessionKey, SessionView, Strays
from unbroken.domain.turn import Committed, Fork, TurnChange

State = Literal[
    "quiet",  # nothing unfinished
    "asking",  # nothing unfinished, and a question is open
    "accepting",  # a message is on its way to the store
    "claiming",  # somebody counts an attempt
    "looking",  # an attempt is counted, and its owner looks what readers are to be told before it begins
    "cancelling",  # a cancel is on its way to the store, or accepted
    "thinking",  # the agent works and nothing was shown
    "speaking",  # something was shown
    "superstep",  # a superstep's commit is on its way
    "finishing",  # the end's commit is on its way
    "between",  # unfinished, and nobody works on it
]
STATES: Final[tuple[State, ...]] = State.__args__  # type: ignore[attr-defined]

IN_FLIGHT: Final[tuple[State, ...]] = ("finishing", "superstep", "cancelling", "looking", "claiming", "accepting")


class Doing:
    """Something under way, and what it is now."""

    __slots__ = ("actor", "state", "thread_id")

    def __init__(self, owner: Actor, thread_id: str, state: State) -> None:
        self.actor = owner
        self.thread_id = thread_id
        self.state: State = state


class Turns:
    """What is under way, by thread. What the dead were doing does not count."""

    def __init__(self, session_of: Callable[[str], Session | None], on_change: Callable[[str], None]) -> None:
        self._session_of = session_of
        self._on_change = on_change
        self._doing: list[Doing] = []

    def state(self, thread_id: str) -> State:
        under_way = {doing.state for doing in self._doing if doing.thread_id == thread_id and not doing.actor.dead}
        for state in IN_FLIGHT:
            if state in under_way:
                return state
        session = self._session_of(thread_id)
        if session is None or not session.waiting:
            return "asking" if session is not None and session.open_questions else "quiet"
        if session.applied_seq + 1 in session.controls:
            return "cancelling"
        return "speaking" if "speaking" in under_way else "thinking" if "thinking" in under_way else "between"

    def owner(self, thread_id: str) -> Actor | None:
        """Who does something for the thread."""
        return next((doing.actor for doing in self._doing if doing.thread_id == thread_id), None)

    @contextmanager
    def doing(self, thread_id: str, state: State) -> Iterator[Doing]:
        doing = Doing(actor(), thread_id, state)
        self._doing.append(doing)
        self._on_change(thread_id)
        try:
            yield doing
        finally:
            self._doing.remove(doing)

    def speaks(self, doing: Doing) -> None:
        if doing.state == "thinking":
            doing.state = "speaking"
            self._on_change(doing.thread_id)

    def bury(self) -> None:
        """Forget what the dead were doing."""
        self._doing = [doing for doing in self._doing if not doing.actor.dead]


class WatchedEventStore(EventStore):
    def __init__(self, inner: EventStore, turns: Turns) -> None:
        self._inner = inner
        self._turns = turns

    async def accept(
        self,
        key: SessionKey,
        new: NewEvent,
        *,
        replica: int,
        queue_limit: int,
        when_busy: WhenBusy = WhenBusy.ENQUEUE,
    ) -> Receipt:
        with self._turns.doing(key.thread_id, "accepting"):
            return await self._inner.accept(key, new, replica=replica, queue_limit=queue_limit, when_busy=when_busy)


class WatchedSessions(Sessions):
    def __init__(self, inner: Sessions, turns: Turns) -> None:
        self._inner = inner
        self._turns = turns
        self._claimed: dict[str, asyncio.Task[object] | None] = {}
        """By thread: who counted its latest attempt. Others look at it too, and begin nothing."""

    async def claim(self, thread_id: str, *, replica: int, because: str | None = None) -> Claim | None:
        with self._turns.doing(thread_id, "claiming"):
            claim = await self._inner.claim(thread_id, replica=replica, because=because)
        if claim is not None:
            self._claimed[thread_id] = asyncio.current_task()
        return claim

    async def view(self, thread_id: str) -> SessionView | None:
        if self._claimed.get(thread_id) is not asyncio.current_task():
            return await self._inner.view(thread_id)
        with self._turns.doing(thread_id, "looking"):
            return await self._inner.view(thread_id)

    async def before(self, thread_id: str, request_id: str) -> Fork | None:
        return await self._inner.before(thread_id, request_id)

    async def release(self, claim: Claim) -> bool:
        return await self._inner.release(claim)

    async def release_thread(self, thread_id: str, *, replica: int) -> bool:
        return await self._inner.release_thread(thread_id, replica=replica)

    async def strays(self, *, replica: int, limit: int) -> Strays:
        return await self._inner.strays(replica=replica, limit=limit)

    async def behind(self, known: Mapping[str, Position]) -> Sequence[str]:
        return await self._inner.behind(known)

    async def alone(self, *, replica: int) -> int | None:
        return await self._inner.alone(replica=replica)

    async def standing(self, *, replica: int) -> Mapping[str, int]:
        return await self._inner.standing(replica=replica)


class WatchedUnitOfWork(UnitOfWork):
    def __init__(self, inner: UnitOfWork, turns: Turns) -> None:
        self._inner = inner
        self._turns = turns

    async def commit(self, change: TurnChange) -> Committed:
        with self._turns.doing(change.claim.key.thread_id, "finishing" if change.finishes else "superstep"):
            return await self._inner.commit(change)


class WatchedControls(Controls):
    def __init__(self, inner: Controls, turns: Turns) -> None:
        self._inner = inner
        self._turns = turns

    async def cancel(self, key: SessionKey, request_id: str, kind: CancelKind = "cancel") -> Mark:
        with self._turns.doing(key.thread_id, "cancelling"):
            return await self._inner.cancel(key, request_id, kind)

    async def marked(self, *, replica: int) -> Sequence[Mark]:
        return await self._inner.marked(replica=replica)
