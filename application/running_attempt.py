"""The attempt that an agent works on: its live stream, its gate, and its supersteps' commits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal

from unbroken.application.live_sessions import LiveAttempt, LiveSessions
from unbroken.domain.checkpoints import ROOT, StateChange
from unbroken.domain.errors import AnswerTooLong, HandedOver, StoreUnavailable, UnbrokenError
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.session import Claim
from unbroken.domain.stream_parts import ToolPhase
from unbroken.domain.turn import Fork, Gate, Settling, TurnChange

log = logging.getLogger(__name__)

PATIENCE_S: Final = 30.0
"""How long a superstep waits for the store before its attempt is given up."""
MAX_PAUSE_S: Final = 2.0


class RunningAttempt(Attempt):
    """Writers drop what comes after the gate closed; an answer that outgrows the stream closes it."""

    def __init__(
        self, claim: Claim, live: LiveAttempt, sessions: LiveSessions, unit_of_work: UnitOfWork, clock: Clock
    ) -> None:
        self.claim = claim
        self.gate = Gate()
        self.fork: Fork | None = None
        self.failure: UnbrokenError | None = None
        """Why the gate closed, where that decides the turn's end."""
        self._cancel: Callable[[], object] = lambda: None
        self._live = live
        self._sessions = sessions
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._head = claim.head
        self._superstep: asyncio.Task[None] | None = None
        self._hands_over = False

    async def remains(self, reason: Literal["cancelled", "failed"]) -> Settling:
        """What to make whole after the gate has closed: what was shown, and what of it is committed.

        Waits for a superstep whose commit is under way. Raises what that commit did: Fenced, StoreUnavailable, or
        CommitUnknown, when nobody knows where the head stands.
        """
        if self._superstep is not None:
            await asyncio.wait({self._superstep})
            self._superstep.result()
        return Settling(self.claim, self._head, self._live.stream.messages, reason, self.fork)

    def complete(self, text: str) -> bool:
        """Stream what the answer has beyond the stream; False: it is another text than the one shown.
        Raises AnswerTooLong."""
        same = self._live.stream.complete(text, f"{self.claim.event.id}:rest")
        self._sessions.notify(self.claim.key)
        return same

    def begin_with(self, texts: Sequence[tuple[str, str]]) -> None:
        if self.gate.open:
            for message_id, text in texts:
                self._live.stream.begin_with(message_id, text)
            self._sessions.notify(self.claim.key)

    def text(self, message_id: str, chunk: str) -> None:
        if self.gate.open:
            try:
                self._live.stream.append(message_id, chunk)
            except AnswerTooLong as failure:
                self.fail(failure)
            self._sessions.goes_on(self.claim.key)

    def text_ends(self, message_id: str) -> None:
        if self.gate.open:
            try:
                self._live.stream.close(message_id)
            except AnswerTooLong as failure:
                self.fail(failure)
            self._sessions.notify(self.claim.key)

    def tool(
        self,
        tool_call_id: str,
        name: str,
        phase: ToolPhase,
        data: str | None = None,
        namespace: tuple[str, ...] = (),
    ) -> None:
        if self.gate.open:
            try:
                self._live.stream.tool(tool_call_id, name, phase, data, namespace)
            except AnswerTooLong as failure:
                self.fail(failure)
            self._sessions.notify(self.claim.key)

    def step(self, method: str, namespace: tuple[str, ...], data: bytes) -> None:
        if self.gate.open:
            try:
                self._live.stream.step(method, namespace, data)
            except AnswerTooLong as failure:
                self.fail(failure)
            self._sessions.goes_on(self.claim.key)

    def hand_over(self) -> None:
        """The process is to stop: end at the next superstep that is committed, and that another one follows."""
        self._hands_over = True

    async def commit_superstep(self, change: StateChange) -> None:
        self.gate.check()
        self._superstep = asyncio.ensure_future(self._commit(change))
        try:
            await asyncio.shield(self._superstep)
        except UnbrokenError as failure:
            self.fail(failure)
            raise
        if self._hands_over:
            self.fail(HandedOver("this process stops; another one goes on from here"))
        self.gate.check()

    async def committed(self) -> None:
        """Wait until no superstep's commit is under way, however it ends."""
        if self._superstep is not None:
            with suppress(UnbrokenError):
                await self._superstep

    async def _commit(self, change: StateChange) -> None:
        """Tried again while the store has surely written nothing: its trouble is no reason to ask the model again, nor
        to spend the message's tries. Not if an answer was lost: what arrived late would take the head back."""
        deadline = self._clock.monotonic() + PATIENCE_S
        pause_s = 0.1
        while True:
            try:
                await self._unit_of_work.commit(TurnChange(self.claim, change, finishes=False))
                break
            except StoreUnavailable as error:
                log.warning("a superstep waits for the store: %s", error, extra={"session": str(self.claim.key)})
                await self._clock.sleep(pause_s)
                if not self.gate.open:
                    return  # nobody waits for it any more, and the head is where it was
                if self._clock.monotonic() > deadline:
                    raise
            pause_s = min(MAX_PAUSE_S, 2 * pause_s)
        self._head = dict(change.heads).get(ROOT, self._head)

    def on_failure(self, cancel: Callable[[], object]) -> None:
        """Call `cancel` when the attempt fails from outside the agent."""
        self._cancel = cancel

    def fail(self, failure: UnbrokenError) -> None:
        """End the attempt for a reason that the agent does not know of. The first reason stands."""
        if self.gate.open:
            self.failure = failure
            self.gate.close(str(failure))
            self._cancel()
