"""The last parts of a story: a client's acknowledgement of what was delivered, and effects that were executed."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, get_current_span, set_span_in_context

from unbroken.adapters.telemetry import names
from unbroken.adapters.telemetry.identity import context_of, link, span_named
from unbroken.adapters.telemetry.logs import naming
from unbroken.adapters.telemetry.telemetry import NS, Telemetry, failed, now_ns
from unbroken.application.effect_runner import EffectRunner
from unbroken.domain.effects import EffectClaim, LogEntry
from unbroken.domain.ports.outbox import Ended, Outbox, Reached

SESSIONS: Final = 10_000
ENTRIES: Final = 8
"""Deliveries a session of which the acknowledgement is awaited; older ones are told of without it."""
CLAIMS: Final = 10_000


class Written:
    """The deliveries of this process that nobody has acknowledged yet."""

    def __init__(self) -> None:
        self._spans: OrderedDict[str, deque[tuple[int, SpanContext]]] = OrderedDict()

    def add(self, thread_id: str, log_index: int, span: SpanContext) -> None:
        spans = self._spans.setdefault(thread_id, deque(maxlen=ENTRIES))
        spans.append((log_index, span))
        self._spans.move_to_end(thread_id)
        while len(self._spans) > SESSIONS:
            self._spans.popitem(last=False)

    def take(self, thread_id: str, cursor: int) -> list[tuple[int, SpanContext]]:
        """(log index, span of its first delivery) of what is acknowledged now; a later delivery of it, to another
        socket, is not awaited any more."""
        spans = self._spans.get(thread_id)
        taken: dict[int, SpanContext] = {}
        while spans and spans[0][0] <= cursor:
            log_index, span = spans.popleft()
            taken.setdefault(log_index, span)
        if not spans:
            self._spans.pop(thread_id, None)
        return list(taken.items())


class ObservedOutbox(Outbox):
    def __init__(self, inner: Outbox, telemetry: Telemetry, written: Written) -> None:
        self._inner = inner
        self._telemetry = telemetry
        self._written = written
        self._claimed: OrderedDict[tuple[str, str, int], int] = OrderedDict()
        """Effect and number of the claim → when it was claimed."""

    async def read(self, thread_id: str, *, after: int, limit: int) -> Sequence[LogEntry]:
        return await self._inner.read(thread_id, after=after, limit=limit)

    async def end_of(self, thread_id: str, seq: int) -> Ended | None:
        return await self._inner.end_of(thread_id, seq)

    async def revive(self, thread_id: str, effect_id: str) -> bool:
        return await self._inner.revive(thread_id, effect_id)

    async def next_due(self) -> datetime | None:
        return await self._inner.next_due()

    async def mark(self, sent: Mapping[str, Reached], acked: Mapping[str, Reached]) -> None:
        start = now_ns()
        await self._inner.mark(sent, acked)
        for thread_id, reached in acked.items():
            for log_index, delivered in self._written.take(thread_id, reached.log_index):
                self._acknowledged(log_index, delivered, start - int(reached.ago_s * NS))

    def _acknowledged(self, log_index: int, delivered: SpanContext, start: int) -> None:
        attributes = names.messaging("acknowledge", "settle", "log") | {names.LOG_INDEX: log_index}
        self._telemetry.begin(
            "acknowledge log",
            SpanKind.CLIENT,
            attributes,
            context=set_span_in_context(NonRecordingSpan(delivered), Context()),
            start=start,
        ).end()
        self._telemetry.instruments.acknowledgements.add(1)

    async def claim(self, *, replica: int, limit: int, until_s: float) -> Sequence[EffectClaim]:
        claims = await self._inner.claim(replica=replica, limit=limit, until_s=until_s)
        for claim in claims:
            self._claimed[_place(claim)] = now_ns()
        while len(self._claimed) > CLAIMS:
            self._claimed.popitem(last=False)
        return claims

    async def complete(self, claim: EffectClaim) -> bool:
        done = await self._inner.complete(claim)
        self._executed(claim, "completed" if done else "fenced")
        return done

    async def postpone(self, claim: EffectClaim, *, retry_after_s: float | None, error: str | None = None) -> bool:
        done = await self._inner.postpone(claim, retry_after_s=retry_after_s, error=error)
        outcome = "dead_letter" if retry_after_s is None else "retried"
        self._executed(claim, outcome if done else "fenced")
        return done

    def _executed(self, claim: EffectClaim, outcome: str) -> None:
        kind = str(claim.body.__struct_config__.tag)
        attributes = names.messaging("execute", "process", "effects")
        attributes |= {names.KIND: kind, names.OUTCOME: outcome, names.SEQ: claim.event_seq}
        attributes |= {names.MESSAGE: claim.dedupe_key, names.CONVERSATION: claim.thread_id}
        attributes["unbroken.effect.attempt"] = claim.attempt_count
        span = self._telemetry.begin(
            f"execute {kind}",
            SpanKind.CONSUMER,
            attributes,
            context=context_of(claim.trace_context),
            links=link(span_named(claim.trace_context)),
            start=self._claimed.pop(_place(claim), None),
        )
        if outcome != "completed":
            failed(span, outcome)
        span.end()
        self._telemetry.instruments.effects.add(1, {names.KIND: kind, names.OUTCOME: outcome})


class ObservedEffectRunner(EffectRunner):
    """What is logged while an effect is executed names the commit that owed it."""

    async def _execute(self, claim: EffectClaim) -> None:
        with naming(get_current_span(context_of(claim.trace_context))):
            await super()._execute(claim)


def _place(claim: EffectClaim) -> tuple[str, str, int]:
    return claim.thread_id, claim.dedupe_key, claim.claim_no
