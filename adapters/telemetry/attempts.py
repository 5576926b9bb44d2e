"""One attempt at an event, from the moment it has a slot until its commit, or until it is given up.

accept ──┬── wait in the queue
         ├── attempt 1 ── agent … ── commit of a superstep      (never exported if the process was killed)
         └── attempt 2 ── agent … ── commit of the end
                └── links to attempt 1, and says why
"""

from __future__ import annotations

import time
from collections import OrderedDict
from contextvars import ContextVar
from typing import Any, Final

from msgspec.structs import replace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import Span, SpanKind, get_current_span

from unbroken.adapters.telemetry import names
from unbroken.adapters.telemetry.identity import (
    as_attempt,
    attempt_named,
    carrier_of,
    context_of,
    link,
    of_event,
    span_named,
)
from unbroken.adapters.telemetry.logs import naming
from unbroken.adapters.telemetry.telemetry import Telemetry, age_s, failed, nanoseconds, now_ns, within, word
from unbroken.application.session_processor import Again, SessionProcessor
from unbroken.domain.effects import CancelTurn, ReportFailure, SendMessage, SkipEvent
from unbroken.domain.errors import Fenced, Poisoned
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.session import Claim
from unbroken.domain.turn import Committed, TurnChange

REMEMBERED: Final = 10_000
"""Sessions whose last attempt here ended without an end of its event."""
ENDS_WELL: Final = frozenset({"answered", "asked", "cancelled", "skipped"})


class Attempted:
    """What is known so far of how the attempt at hand ends."""

    __slots__ = ("outcome", "span", "trouble")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.outcome: str | None = None
        self.trouble: str | None = None


_at_hand: ContextVar[Attempted | None] = ContextVar("unbroken_attempt", default=None)


def note_trouble(error: BaseException) -> None:
    """Something went wrong inside the attempt at hand; the last word counts."""
    if attempted := _at_hand.get():
        attempted.trouble = word(error)


class Belonging(SpanProcessor):
    """Each span of an attempt that is not right below the attempt's links to it. What lies in between is exported when
    it ends, and so never, if the process is killed: without these links what did end would belong to nothing."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        attempted = _at_hand.get()
        if attempted is None or span.parent is None:
            return
        attempt = attempted.span.get_span_context()
        if span.parent.trace_id == attempt.trace_id and span.parent.span_id != attempt.span_id:
            span.add_link(attempt, {names.KIND: "attempt"})


class ObservedProcessor(SessionProcessor):
    def __init__(self, telemetry: Telemetry, **parts: Any) -> None:
        super().__init__(**parts)
        self._telemetry = telemetry
        self._given_up: OrderedDict[str, tuple[int, str]] = OrderedDict()
        """Thread id → (run, why) of attempts that this process knows to be over."""

    async def process(self, claim: Claim) -> Claim | Again | None:
        reason = self._reason(claim)
        span = self._begin(claim, reason)
        attempted = Attempted(span)
        token = _at_hand.set(attempted)
        outcome = "given_back"
        try:
            with within(span), naming(span):
                result = await super().process(claim)
            if isinstance(result, Again):
                outcome = attempted.trouble or "retried"
                self._remember(claim, outcome)
            elif result is not claim:
                outcome = attempted.outcome or "lost"
            return result
        finally:
            _at_hand.reset(token)
            span.set_attribute(names.OUTCOME, outcome)
            if outcome not in ENDS_WELL:
                failed(span, outcome)
            span.end()
            labels = {names.AGENT: claim.key.agent_id, names.REASON: reason, names.OUTCOME: outcome}
            self._telemetry.instruments.attempts.add(1, labels)

    def _reason(self, claim: Claim) -> str:
        """Why this attempt is made: `first`, what ended the one before it here, or that its process is gone."""
        known = self._given_up.pop(claim.key.thread_id, None)
        if claim.begins:
            return "first"
        if known is not None and known[0] == claim.run - 1:
            return known[1]
        self._tell_of_the_lost(claim)
        return "takeover" if claim.taken_over else "lost_sight"

    def _begin(self, claim: Claim, reason: str) -> Span:
        attributes = names.messaging("process", "process", "events") | names.attempt(claim)
        attributes |= {names.GEN_AI_OPERATION: "invoke_agent", names.REASON: reason}
        before = attempt_named(claim.event, claim.run - 1) if not claim.begins else None
        if before is None:
            self._tell_of_the_wait(claim)
        links = link(before, {names.REASON: reason, names.ATTEMPT: claim.run - 1})
        with as_attempt(claim.event, claim.run):
            return self._telemetry.begin(
                "process events",
                SpanKind.CONSUMER,
                attributes,
                context=context_of(claim.event.trace_context),
                links=links or link(span_named(claim.event.trace_context)),
            )

    def _tell_of_the_wait(self, claim: Claim) -> None:
        accepted, now = nanoseconds(claim.event.created_at), now_ns()
        attributes = names.messaging("wait", "receive", "events") | names.session(claim.key) | names.event(claim.event)
        with of_event(claim.event):
            self._telemetry.begin(
                "wait in the queue",
                SpanKind.INTERNAL,
                attributes,
                context=context_of(claim.event.trace_context),
                start=min(accepted, now),
            ).end(max(accepted, now))
        self._telemetry.instruments.wait.record(age_s(claim.event.created_at))

    def _tell_of_the_lost(self, claim: Claim) -> None:
        """The attempt before was cut off with its process, which cannot tell of it any more. When it began nobody
        knows: not before the event was accepted."""
        attributes = names.messaging("process", "process", "events") | names.attempt(claim)
        attributes |= {
            names.ATTEMPT: claim.run - 1,
            names.TRIES: claim.tries - 1,
            names.RECONSTRUCTED: True,
            names.OUTCOME: "lost",
        }
        now = now_ns()
        with as_attempt(claim.event, claim.run - 1):
            lost = self._telemetry.begin(
                "process events",
                SpanKind.CONSUMER,
                attributes,
                context=context_of(claim.event.trace_context),
                start=min(nanoseconds(claim.event.created_at), now),
            )
        failed(lost, "lost")
        lost.end(now)

    def _remember(self, claim: Claim, why: str) -> None:
        self._given_up[claim.key.thread_id] = (claim.run, why)
        self._given_up.move_to_end(claim.key.thread_id)
        while len(self._given_up) > REMEMBERED:
            self._given_up.popitem(last=False)


class ObservedUnitOfWork(UnitOfWork):
    """What a finishing commit owes carries the commit's own name."""

    def __init__(self, inner: UnitOfWork, telemetry: Telemetry) -> None:
        self._inner = inner
        self._telemetry = telemetry

    async def commit(self, change: TurnChange) -> Committed:
        instruments = self._telemetry.instruments
        event = change.claim.event
        kind = "end" if change.finishes else "superstep"
        context: Context | None = None
        if not get_current_span().get_span_context().is_valid:
            context = context_of(event.trace_context)
        attributes = names.messaging("commit", "settle", "events") | names.event(event)
        attributes |= {names.KIND: kind, names.ATTEMPT: change.claim.run, "unbroken.effects": len(change.effects)}
        began, outcome = time.perf_counter(), "committed"
        try:
            with self._telemetry.span(f"commit {kind}", SpanKind.INTERNAL, attributes, context=context) as span:
                if change.finishes and not change.trace_context:
                    change = replace(change, trace_context=carrier_of(span))
                committed = await self._inner.commit(change)
        except BaseException as error:
            outcome = word(error)
            note_trouble(error)
            if isinstance(error, Fenced):
                instruments.fencings.add(1)
            raise
        finally:
            instruments.commit.record(time.perf_counter() - began, {names.KIND: kind, names.OUTCOME: outcome})
        if change.finishes:
            self._ended(change)
        return committed

    def _ended(self, change: TurnChange) -> None:
        claim, instruments = change.claim, self._telemetry.instruments
        outcome, usage = _told(change)
        if attempted := _at_hand.get():
            attempted.outcome = outcome
        agent = {names.AGENT: claim.key.agent_id}
        instruments.turn.record(age_s(claim.event.created_at), agent | {names.OUTCOME: outcome})
        if outcome == Poisoned.code:
            instruments.poisoned.add(1)
        for kind in ("input", "output"):
            if spent := usage.get(f"{kind}_tokens"):
                instruments.tokens.add(spent, agent | {names.USAGE: kind})


def _told(change: TurnChange) -> tuple[str, dict[str, int]]:
    """How the event ended, in one word, and the tokens that it took."""
    for effect in change.effects:
        match effect.body:
            case SendMessage(waiting=waiting, token_usage=usage):
                return "asked" if waiting else "answered", usage or {}
            case CancelTurn():
                return "cancelled", {}
            case ReportFailure(code=code):
                return code, {}
            case SkipEvent(code=code):
                return code or "skipped", {}
    return "ended", {}
