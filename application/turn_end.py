"""The one visible end of an event (I1): what a finishing commit says, and getting it committed.

answered   the state moves on; the answer, then what the agent asks
cancelled  history made whole, or heads gone back; what was shown
failed     history made whole, or heads gone back; what went wrong
skipped    nobody waits for it

Whichever it is of a change of the state, which is nobody's saying, the log has no word of it: its caller alone is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from unbroken.application.live_sessions import LiveSessions
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.effects import CancelTurn, EffectBody, NewEffect, ReportFailure, SendMessage, SkipEvent, dedupe_key
from unbroken.domain.errors import BranchGone, CancelKind, Refused, TurnFailed, Unavailable
from unbroken.domain.events import StateUpdate, UserMessage
from unbroken.domain.policy import Questions, keeps_history, questions_after, questions_settled, unsaid
from unbroken.domain.ports.agent import Agent, Agents
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.ports.wakeups import Wakeups
from unbroken.domain.session import Claim
from unbroken.domain.stream_parts import join_messages
from unbroken.domain.turn import Answer, Committed, Fork, Settled, Settling, TurnChange

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long an end that is decided waits for the store before its work is thrown away and tried anew."""

SETTLE_S = 5.0
"""What an agent gets to make a history whole; then the heads go back instead."""


class TurnEnd:
    """Each method returns the next claim of the session if the commit counted one.

    All raise Fenced, Unavailable once the store has not answered for 30 s, and, but for `cancelled`, CancelRequested.
    """

    def __init__(
        self,
        *,
        agents: Agents,
        sessions: Sessions,
        unit_of_work: UnitOfWork,
        live: LiveSessions,
        clock: Clock,
        wakeups: Wakeups,
        new_id: Callable[[], str],
        on_effects: Callable[[], None],
    ) -> None:
        self._agents = agents
        self._sessions = sessions
        self._unit_of_work = unit_of_work
        self._live = live
        self._clock = clock
        self._wakeups = wakeups
        self._new_id = new_id
        self._on_effects = on_effects

    async def answered(self, claim: Claim, answer: Answer, *, revised: bool) -> Claim | None:
        questions = questions_after(claim, answer.questions)
        age = self._clock.now() - claim.event.created_at
        message = SendMessage(
            text=answer.text,
            content=answer.content,
            attempt=claim.run,
            latency_ms=max(0, round(age.total_seconds() * 1000)),
            token_usage=answer.token_usage,
            origin="user" if claim.event.from_user else "agent",
            waiting=bool(questions.open) or answer.stands,
            revised=revised,
        )
        effects = self._effects(claim, [*questions.closed, message, *questions.asked])
        for effect in answer.effects:
            key = dedupe_key(claim.event.id, effect.node_path, effect.occurrence, effect.ordinal, _kind(effect.body))
            effects.append(NewEffect(self._new_id(), len(effects), effect.body, key))
        change = TurnChange(claim, answer.state, True, tuple(effects), open_questions=questions.open)
        following = await self._finish(change)
        if answer.effects:
            self._on_effects()
        return following

    async def skipped(self, claim: Claim, reason: str) -> Claim | None:
        change = TurnChange(claim, StateChange(), True, tuple(self._effects(claim, [SkipEvent(reason)])), cancels=True)
        return await self._finish(change)

    async def failed(self, claim: Claim, failure: TurnFailed, remains: Settling | None = None) -> Claim | None:
        """`remains` None: nothing is known of what the agent did, and the heads go back."""
        log.warning("turn failed: %s", failure.code, extra=about(claim), exc_info=failure.__cause__)
        report = ReportFailure(failure.code, str(failure), claim.run, failure.retryable)
        if remains is not None and keeps_history(failure, shown=bool(remains.texts), committed=_moved(remains)):
            return await self._mended(remains, lambda _: report, cancelled=False)
        place = None if isinstance(failure, BranchGone) else await self._place(claim)
        return await self._reverted(claim, report, place, cancelled=False)

    async def cancelled(self, claim: Claim, kind: CancelKind, remains: Settling) -> Claim | None:
        log.info("turn cancelled", extra=about(claim))
        if kind == "rollback":
            return await self._reverted(claim, CancelTurn("", claim.run), await self._place(claim), cancelled=True)
        return await self._mended(remains, lambda shown: CancelTurn(shown, claim.run), cancelled=True)

    async def _mended(self, remains: Settling, end: Callable[[str], EffectBody], *, cancelled: bool) -> Claim | None:
        """The history made whole; where that cannot be had, the heads go back. `end` is given what was shown."""
        claim = remains.claim
        settled = await self._settled(remains)
        if settled is not None:
            questions = Questions(open=claim.open_questions)
            if settled.state != StateChange():  # else what was open before the event is open still
                questions = questions_settled(claim, cancelled=cancelled)
            effects = tuple(self._effects(claim, [*questions.closed, end(settled.text)]))
            change = TurnChange(claim, settled.state, True, effects, cancels=cancelled, open_questions=questions.open)
            try:
                return await self._finish(change)
            except Refused as error:
                log.warning("no store can hold the history, the heads go back: %s", error, extra=about(claim))
        shown = join_messages([text for _, text in remains.texts])
        return await self._reverted(claim, end(shown), await self._place(claim), cancelled=cancelled)

    async def _reverted(self, claim: Claim, end: EffectBody, place: Fork | None, *, cancelled: bool) -> Claim | None:
        """Nothing of the event stays. With a `place` the heads go there, and not back to the branch that it left."""
        if place is None:
            effects = tuple(self._effects(claim, [end]))
            return await self._finish(TurnChange(claim, StateChange(), True, effects, reverts=True, cancels=cancelled))
        questions = questions_settled(claim, cancelled=cancelled)
        effects = tuple(self._effects(claim, [*questions.closed, end]))
        state = StateChange(heads=place.heads)
        return await self._finish(
            TurnChange(claim, state, True, effects, cancels=cancelled, open_questions=questions.open)
        )

    async def _place(self, claim: Claim) -> Fork | None:
        """Where a message stands that took another one's place: clients show what lies before it, whatever becomes of
        it. None: at the end of what there was."""
        body = claim.event.body
        replaces = body.replaces if isinstance(body, UserMessage) else None
        if replaces is None:
            return None
        return await self._insist(lambda: self._sessions.before(claim.key.thread_id, replaces), claim)

    async def _settled(self, remains: Settling) -> Settled | None:
        """None: this history cannot be made whole. An event that left nothing needs no agent for it: a message has
        still taken another one's place, a run or an update has left the conversation where it was."""
        claim = remains.claim
        if not remains.texts and not _moved(remains):
            place = remains.fork if isinstance(claim.event.body, UserMessage) else None
            return Settled(StateChange(heads=place.heads if place else ()), "")
        try:
            agent = self._agents.get(claim.key.agent_id)
            return await self._insist(lambda: _settling(agent, remains), claim)
        except Unavailable:
            raise
        except (Refused, TimeoutError) as error:
            log.warning("the history cannot be made whole, the heads go back: %s", error, extra=about(claim))
        except Exception:
            log.exception("the history cannot be made whole, the heads go back", extra=about(claim))
        return None

    async def _finish(self, change: TurnChange) -> Claim | None:
        claim = change.claim
        committed = await self._insist(lambda: self._commit(change), claim)
        self._live.end(claim, committed.entries)
        self._wakeups.announce(claim.key.thread_id)
        log.info("event finished", extra=about(claim))
        return committed.next

    async def _insist(self, step: Callable[[], Awaitable[T]], claim: Claim) -> T:
        """Try under the same claim until the store answers: trouble of the store is no reason to ask the model
        again, nor to spend the message's tries. If an earlier commit was applied after all, the fence says so."""
        deadline = self._clock.monotonic() + PATIENCE_S
        pause_s = 0.1
        while True:
            try:
                return await step()
            except Unavailable as error:
                if self._clock.monotonic() + pause_s > deadline:
                    raise
                log.warning("a finished event waits for the store: %s", error, extra=about(claim))
            await self._clock.sleep(pause_s)
            pause_s = min(2.0, 2 * pause_s)

    async def _commit(self, change: TurnChange) -> Committed:
        """Once begun, a commit is waited for: whoever cancels must know how it ended. If it stands, nothing was cut
        off: readers are told the end, and the next attempt that it may have counted is not lost sight of."""
        task = asyncio.ensure_future(self._unit_of_work.commit(change))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            if task.cancelled() or task.exception() is not None:
                raise
            return task.result()

    def _effects(self, claim: Claim, bodies: Sequence[EffectBody]) -> list[NewEffect]:
        if isinstance(claim.event.body, StateUpdate):
            bodies = [unsaid(body) for body in bodies]
        return [
            NewEffect(self._new_id(), index, body, dedupe_key(claim.event.id, "", 0, index, _kind(body)))
            for index, body in enumerate(bodies)
        ]


async def _settling(agent: Agent, remains: Settling) -> Settled:
    """Raises TimeoutError besides what `settle` does. Tried once more after that: where the whole process stood still,
    the time went by, and nothing is wrong with the history, of which people have read more already."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            return await agent.settle(remains)
    async with asyncio.timeout(SETTLE_S):
        return await agent.settle(remains)


def _moved(remains: Settling) -> bool:
    """Whether a superstep of the event was committed, by this attempt or by one before it."""
    return remains.claim.resumes or remains.head != remains.claim.head


def _kind(body: EffectBody) -> str:
    return str(body.__struct_config__.tag)


def about(claim: Claim) -> dict[str, object]:
    return {
        "session": str(claim.key),
        "event_id": claim.event.id,
        "request": claim.event.request_id,
        "seq": claim.event.seq,
        "attempt": claim.run,
        "tries": claim.tries,
    }
