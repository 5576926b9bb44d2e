"""One claimed event to its end: open the gate, run the agent, close the gate, commit, show.

Between any two awaits the lease may be lost, the process may stall, the socket may drop. Nothing here checks for
that: the commit's fence decides, and whoever is fenced drops everything it holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from msgspec import Struct

from unbroken.application.live_sessions import LiveSessions
from unbroken.application.running_attempt import RunningAttempt
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.effects import (
    EffectBody,
    NewEffect,
    ReportFailure,
    RequestInput,
    SendMessage,
    SkipEvent,
    dedupe_key,
)
from unbroken.domain.errors import AgentRaised, Fenced, Refused, TimedOut, TurnFailed, Unavailable
from unbroken.domain.policy import Opening, RetryPolicy, opening, repeats
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.turn import Answer, Committed, TurnChange

log = logging.getLogger(__name__)

GRACE_S = 1.0
"""What an agent gets to end itself after its time limit, before the durable end comes regardless."""

PATIENCE_S = 30.0
"""How long an answer that is complete waits for the store before its work is thrown away and tried anew."""


class Again(Struct, frozen=True):
    """The event is not at its end: claim it anew after a pause."""

    after_s: float
    refresh: SessionKey | None = None
    """The last commit's fate is unknown, or another owner may have worked: tell readers what the store knows."""


class SessionProcessor:
    def __init__(
        self,
        *,
        agents: Agents,
        unit_of_work: UnitOfWork,
        live: LiveSessions,
        clock: Clock,
        new_id: Callable[[], str],
        retry: RetryPolicy,
        turn_limit_s: float,
        on_effects: Callable[[], None],
    ) -> None:
        self._agents = agents
        self._unit_of_work = unit_of_work
        self._live = live
        self._clock = clock
        self._new_id = new_id
        self._retry = retry
        self._turn_limit_s = turn_limit_s
        self._on_effects = on_effects
        self._abandoned: set[asyncio.Task[Answer]] = set()

    @property
    def abandoned(self) -> int:
        """Tasks that outlived their time limit and their cancellation, and still run."""
        return len(self._abandoned)

    async def process(self, claim: Claim) -> Claim | Again | None:
        """Bring one event to its visible end, or say when to try again (I1).

        Returns the next claim of the session if the finishing commit counted one, None if nothing waits or the
        claim was lost. Raises nothing but cancellation and broken invariants.
        """
        try:
            match opening(claim, self._retry):
                case Opening.SKIP:
                    return await self._finish(claim, StateChange(), [SkipEvent("a message of the user came first")])
                case Opening.POISONED:
                    message = f"this message ended its attempt {claim.tries - 1} times without an answer"
                    return await self._fail(claim, "poisoned", message)
                case Opening.RUN:
                    return await self._run(claim)
        except Fenced as error:
            log.info("fenced out: %s", error, extra=_about(claim))
        except Unavailable as error:
            log.warning("attempt lost: %s", error, extra=_about(claim))
        except BaseException:
            self._live.abandon(claim)
            raise
        self._live.abandon(claim)
        # Fenced attempts pause like failed ones: a replica that is dead and does not know it must not spin.
        return Again(self._retry.delay_s(claim.tries), claim.key)

    async def _run(self, claim: Claim) -> Claim | Again | None:
        attempt = RunningAttempt(claim, self._live.begin(claim), self._live, self._unit_of_work)
        try:
            answer = await self._answer(attempt)
            revised = not attempt.complete(answer.text)
            attempt.gate.close("finished")
            return await self._finish(claim, answer.state, self._bodies(claim, answer, revised=revised), answer)
        except TurnFailed as failure:
            attempt.gate.close("failed")
            if repeats(failure, claim, self._retry):
                return Again(self._retry.delay_s(claim.tries))
            return await self._fail(claim, failure.code, str(failure), retryable=failure.retryable)
        except Refused as failure:
            # No such agent, or an answer that no store can hold: another try would end the same way.
            attempt.gate.close("failed")
            return await self._fail(claim, "model_failed", str(failure))

    async def _answer(self, attempt: RunningAttempt) -> Answer:
        """The agent's answer, within the time limit; the gate is closed whenever this raises.

        An attempt that fails from outside, by its limit or by a superstep's commit, ends a second later at the
        latest: what the agent does with its cancellation is its own affair.
        """
        agent = self._agents.get(attempt.claim.key.agent_id)
        task = asyncio.ensure_future(agent.run(attempt))
        failed = asyncio.Event()
        attempt.on_failure(failed.set)
        watch = asyncio.ensure_future(failed.wait())
        try:
            await asyncio.wait({task, watch}, timeout=self._turn_limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                attempt.fail(TimedOut(f"the turn took longer than {self._turn_limit_s:g} s"))
                await self._call_off(task)
        except asyncio.CancelledError:
            attempt.gate.close("cancelled")
            await self._call_off(task)
            raise
        finally:
            watch.cancel()
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

    def _bodies(self, claim: Claim, answer: Answer, *, revised: bool) -> list[EffectBody]:
        age = self._clock.now() - claim.event.created_at
        message = SendMessage(
            text=answer.text,
            content=answer.content,
            attempt=claim.run,
            latency_ms=max(0, round(age.total_seconds() * 1000)),
            token_usage=answer.token_usage,
            origin="user" if claim.event.from_user else "agent",
            waiting=bool(answer.questions),
            revised=revised,
        )
        return [message, *(RequestInput(question.interrupt_id, question.value) for question in answer.questions)]

    async def _fail(self, claim: Claim, code: str, message: str, *, retryable: bool = False) -> Claim | None:
        log.warning("turn failed: %s", code, extra=_about(claim))
        failure = ReportFailure(code, message, claim.run, retryable)
        return await self._finish(claim, StateChange(), [failure], reverts=True)

    async def _finish(
        self,
        claim: Claim,
        state: StateChange,
        bodies: list[EffectBody],
        answer: Answer | None = None,
        *,
        reverts: bool = False,
    ) -> Claim | None:
        change = TurnChange(claim, state, True, tuple(self._effects(claim, bodies, answer)), reverts)
        committed = await self._insist(change)
        self._live.end(claim, committed.entries)
        log.info("event finished", extra=_about(claim))
        if answer is not None and answer.effects:
            self._on_effects()
        return committed.next

    async def _insist(self, change: TurnChange) -> Committed:
        """Commit under the same claim until the store answers: trouble of the store is no reason to ask the model
        again, nor to spend the message's tries. If an earlier try was applied after all, the fence says so."""
        deadline = self._clock.monotonic() + PATIENCE_S
        pause_s = 0.1
        while True:
            try:
                return await self._commit(change)
            except Unavailable as error:
                if self._clock.monotonic() + pause_s > deadline:
                    raise
                log.warning("a finished event waits for the store: %s", error, extra=_about(change.claim))
            await self._clock.sleep(pause_s)
            pause_s = min(2.0, 2 * pause_s)

    async def _commit(self, change: TurnChange) -> Committed:
        """Once begun, a commit is waited for: whoever cancels must know how it ended."""
        task = asyncio.ensure_future(self._unit_of_work.commit(change))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.gather(task, return_exceptions=True)
            raise

    def _effects(self, claim: Claim, bodies: list[EffectBody], answer: Answer | None) -> list[NewEffect]:
        event_id = claim.event.id
        effects = [
            NewEffect(self._new_id(), index, body, dedupe_key(event_id, "", 0, index, _kind(body)))
            for index, body in enumerate(bodies)
        ]
        for effect in answer.effects if answer else ():
            key = dedupe_key(event_id, effect.node_path, effect.occurrence, effect.ordinal, _kind(effect.body))
            effects.append(NewEffect(self._new_id(), len(effects), effect.body, key))
        return effects


def _kind(body: EffectBody) -> str:
    return str(body.__struct_config__.tag)


def _about(claim: Claim) -> dict[str, object]:
    return {"session": str(claim.key), "seq": claim.event.seq, "attempt": claim.run, "tries": claim.tries}
