"""The attempt that an agent works on: its live stream, its gate, and its supersteps' commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unbroken.application.live_sessions import LiveAttempt, LiveSessions
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.errors import AnswerTooLong, UnbrokenError
from unbroken.domain.live_stream import ToolPhase
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.session import Claim
from unbroken.domain.turn import Gate, TurnChange


class RunningAttempt(Attempt):
    """Writers drop what comes after the gate closed; an answer that outgrows the stream closes it."""

    def __init__(self, claim: Claim, live: LiveAttempt, sessions: LiveSessions, unit_of_work: UnitOfWork) -> None:
        self.claim = claim
        self.gate = Gate()
        self.failure: UnbrokenError | None = None
        """Why the gate closed, where that decides the turn's end."""
        self._cancel: Callable[[], object] = lambda: None
        self._live = live
        self._sessions = sessions
        self._unit_of_work = unit_of_work

    def complete(self, text: str) -> bool:
        """Stream what the answer has beyond the stream; False: it is another text than the one shown.
        Raises AnswerTooLong."""
        same = self._live.stream.complete(text, self.claim.event.id)
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
            self._sessions.notify(self.claim.key)

    def text_ends(self, message_id: str) -> None:
        if self.gate.open:
            try:
                self._live.stream.close(message_id)
            except AnswerTooLong as failure:
                self.fail(failure)
            self._sessions.notify(self.claim.key)

    def tool(self, tool_call_id: str, name: str, phase: ToolPhase, data: str | None = None) -> None:
        if self.gate.open:
            try:
                self._live.stream.tool(tool_call_id, name, phase, data)
            except AnswerTooLong as failure:
                self.fail(failure)
            self._sessions.notify(self.claim.key)

    async def commit_superstep(self, change: StateChange) -> None:
        self.gate.check()
        try:
            await self._unit_of_work.commit(TurnChange(self.claim, change, finishes=False))
        except UnbrokenError as failure:
            self.fail(failure)
            raise

    def on_failure(self, cancel: Callable[[], object]) -> None:
        """Call `cancel` when the attempt fails from outside the agent."""
        self._cancel = cancel

    def fail(self, failure: UnbrokenError) -> None:
        """End the attempt for a reason that the agent does not know of. The first reason stands."""
        if self.gate.open:
            self.failure = failure
            self.gate.close(str(failure))
            self._cancel()
