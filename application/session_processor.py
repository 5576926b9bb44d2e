"""One claimed event to its end: open the gate, run the agent, close the gate, commit, show.

Between any two awaits the lease may be lost, the process may stall, the socket may drop. Nothing here checks for
that: the commit's fence decides, and whoever is fenced drops everything it holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from unbroken.application.live_sessions import LiveSessions
from unbroken.application.running_attempt import RunningAttempt
from unbroken.application.turn_end import TurnEnd, about
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.errors import (
    AgentRaised,
    BranchGone,
    CancelKind,
    CancelRequested,
    Fenced,
    HandedOver,
    Poisoned,
    QuestionClosed,
    Refused,
    TimedOut,
    TurnFailed,
    Unavailable,
)
from unbroken.domain.events import RunStart, StateUpdate, UserMessage
from unbroken.domain.policy import Opening, RetryPolicy, opening, repeats
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.turn import Answer, Fork, Settling

log = logging.getLogger(__name__)

GRACE_S = 1.0
"""What an agent gets to end itself after its attempt was stopped, before the durable end comes regardless."""


class Again(Struct, frozen=True):
    """The event is not at its end: claim it anew after a pause."""

    after_s: float
    refresh: SessionKey | None = None
    """The last commit's fate is unknown, or another owner may have worked: tell readers what the store knows."""
    because: str | None = None
    """What ended the attempt, in a word."""


class SessionProcessor:
    def __init__(
        self,
        *,
        agents: Agents,
        sessions: Sessions,
        unit_of_work: UnitOfWork,
        live: LiveSessions,
        end: TurnEnd,
        clock: Clock,
        retry: RetryPolicy,
        turn_limit_s: float,
    ) -> None:
        self._agents = agents
        self._sessions = sessions
        self._unit_of_work = unit_of_work
        self._live = live
        self._end = end
        self._clock = clock
        self._retry = retry
        self._turn_limit_s = turn_limit_s
        self._attempts: dict[str, RunningAttempt] = {}
        self._hands_over = False
        self._abandoned: set[asyncio.Task[Answer]] = set()

    @property
    def abandoned(self) -> int:
        """Tasks and threads that outlived their attempt and its cancellation, and still run."""
        return len(self._abandoned) + self._agents.left_behind

    @property
    def running(self) -> frozenset[tuple[str, int]]:
        """(thread id, run) of the attempts under way."""
        return frozenset((thread_id, attempt.claim.run) for thread_id, attempt in self._attempts.items())

    @property
    def claims(self) -> Sequence[Claim]:
        """Of the attempts under way."""
        return [attempt.claim for attempt in self._attempts.values()]

    def fence(self, claim: Claim) -> None:
        """The attempt was taken over or repeated, says the store: its output ends here and now."""
        attempt = self._attempts.get(claim.key.thread_id)
        if attempt is not None and attempt.claim is claim:
            attempt.fail(Fenced(f"attempt {claim.run} was taken over while the lease was over"))

    def outrun(self, claim: Claim) -> None:
        """A later attempt of its session was counted: what still runs of an earlier one is fenced, and holds it up."""
        attempt = self._attempts.get(claim.key.thread_id)
        if attempt is not None and attempt.claim.run < claim.run:
            attempt.fail(Fenced(f"attempt {attempt.claim.run} was overtaken by {claim.run}"))

    def stop(self, thread_id: str, kind: CancelKind, *, first: int, last: int) -> bool:
        """Stop the attempt at one of these events, whose cancel is durable; its output ends here and now. False: none
        of them runs here, or not any more."""
        attempt = self._attempts.get(thread_id)
        if attempt is None or not attempt.gate.open or not first <= attempt.claim.event.seq <= last:
            return False
        attempt.fail(CancelRequested(kind))
        return True

    def hand_over(self) -> None:
        """The process is to stop: from now on each attempt ends where it commits a superstep with more to come."""
        self._hands_over = True
        for attempt in self._attempts.values():
            attempt.hand_over()

    async def process(self, claim: Claim) -> Claim | Again | None:
        """Bring one event to its visible end, or say when to try again (I1).

        Returns the next claim of the session if the finishing commit counted one, `claim` itself if its attempt has
        ended for others to go on with, None if nothing waits or the claim was lost. Raises nothing but cancellation
        and broken invariants.
        """
        because = "fenced"
        try:
            try:
                return await self._open(claim)
            except CancelRequested as request:
                return await self._end.cancelled(claim, request.kind, await self._untouched(claim))
        except HandedOver:
            self._live.abandon(claim)
            return claim
        except Fenced as error:
            log.info("fenced out: %s", error, extra=about(claim))
        except Unavailable as error:
            because = "unavailable"
            log.warning("attempt lost: %s", error, extra=about(claim))
        except BaseException:
            self._live.abandon(claim)
            raise
        self._live.abandon(claim)
        # Fenced attempts pause like failed ones: a replica that is dead and does not know it must not spin.
        return Again(self._retry.delay_s(claim.tries), claim.key, because)

    async def _open(self, claim: Claim) -> Claim | Again | None:
        match opening(claim, self._retry):
            case Opening.SKIP:
                return await self._end.skipped(claim, "a message of the user came first")
            case Opening.CANCELLED:
                assert claim.cancel is not None
                return await self._end.cancelled(claim, claim.cancel, await self._untouched(claim))
            case Opening.QUESTION_CLOSED:
                return await self._end.failed(claim, QuestionClosed("this question is not open any more"))
            case Opening.POISONED:
                return await self._end.failed(claim, Poisoned(claim.tries - 1))
            case Opening.RUN:
                return await self._run(claim)

    async def _run(self, claim: Claim) -> Claim | Again | None:
        attempt = RunningAttempt(claim, self._live.begin(claim), self._live, self._unit_of_work, self._clock)
        self._attempts[claim.key.thread_id] = attempt
        if self._hands_over:
            attempt.hand_over()
        try:
            attempt.fork = await self._fork(claim)
            answer = await self._answer(attempt)
            revised = not attempt.complete(answer.text)
            attempt.gate.close("finished")
            return await self._end.answered(claim, answer, revised=revised)
        except CancelRequested as request:
            attempt.gate.close("cancelled")
            return await self._end.cancelled(claim, request.kind, await attempt.remains("cancelled"))
        except TurnFailed as failure:
            attempt.gate.close("failed")
            return await self._failed(attempt, failure)
        except Refused as failure:
            # No such agent, or an answer that no store can hold: another try would end the same way.
            attempt.gate.close("failed")
            return await self._failed(attempt, AgentRaised(str(failure)))
        finally:
            del self._attempts[claim.key.thread_id]

    async def _failed(self, attempt: RunningAttempt, failure: TurnFailed) -> Claim | Again | None:
        claim = attempt.claim
        if repeats(failure, claim, self._retry):
            return Again(self._retry.delay_s(claim.tries), because=failure.code)
        try:
            return await self._end.failed(claim, failure, await attempt.remains("failed"))
        except CancelRequested as request:
            return await self._end.cancelled(claim, request.kind, await attempt.remains("cancelled"))

    async def _fork(self, claim: Claim) -> Fork | None:
        """Where an event goes on that does not follow the head. Raises BranchGone, StoreUnavailable."""
        body = claim.event.body
        if isinstance(body, RunStart | StateUpdate) and body.checkpoint_id and not claim.resumes:
            return Fork(((ROOT, body.checkpoint_id),))
        if not isinstance(body, UserMessage) or body.replaces is None or claim.resumes:
            return None
        fork = await self._sessions.before(claim.key.thread_id, body.replaces)
        if fork is None:
            raise BranchGone("the message to replace is unknown, or the conversation cannot be taken back that far")
        return fork

    async def _untouched(self, claim: Claim) -> Settling:
        """An event that no attempt of ours has run: what remains of it is what the store holds."""
        try:
            fork = await self._fork(claim)
        except BranchGone:
            fork = None
        return Settling(claim, claim.head, (), "cancelled", fork)

    async def _answer(self, attempt: RunningAttempt) -> Answer:
        """The agent's answer, within the time limit; the gate is closed whenever this raises.

        An attempt that is stopped from outside (by a cancel, its limit, or a superstep's commit) ends a second
        later at the latest: what the agent does with its cancellation is its own affair.
        """
        agent = self._agents.get(attempt.claim.key.agent_id)
        if attempt.failure is not None:
            raise attempt.failure
        task = asyncio.ensure_future(agent.run(attempt))
        failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        attempt.on_failure(failed.cancel)
        ends: set[asyncio.Future[Any]] = {task, failed}
        try:
            await asyncio.wait(ends, timeout=self._turn_limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                attempt.fail(TimedOut(f"the turn took longer than {self._turn_limit_s:g} s"))
                await self._call_off(task)
        except asyncio.CancelledError:
            attempt.gate.close("cancelled")
            await self._call_off(task)
            await attempt.committed()
            raise
        finally:
            failed.cancel()
        if task.done() and not attempt.gate.open:
            self._ended(task)  # it ended in the very step in which it was stopped
        if attempt.failure is not None:
            raise attempt.failure
        try:
            return task.result()
        except asyncio.CancelledError as error:
            attempt.gate.close("failed")
            raise AgentRaised("the agent cancelled its own turn") from error
        except BaseException:
            attempt.gate.close("failed")
            raise

    async def _call_off(self, task: asyncio.Task[Answer]) -> None:
        """Cancel an agent's task and give it a moment; one that stays is counted until it ends."""
        self._abandoned.add(task)
        task.add_done_callback(self._ended)
        task.cancel()
        await asyncio.wait({task}, timeout=GRACE_S)

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # nobody else takes it
