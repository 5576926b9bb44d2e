"""The agent at work: a span for each node, inside that of the attempt, and the moment of its first word."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.trace import Span, SpanKind, get_current_span

from unbroken.adapters.telemetry import names
from unbroken.adapters.telemetry.attempts import note_trouble
from unbroken.adapters.telemetry.nodes import telling_of_nodes
from unbroken.adapters.telemetry.telemetry import Telemetry, age_s
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.ports.agent import Agent, Agents, Attempt
from unbroken.domain.stream_parts import ToolPhase
from unbroken.domain.turn import Answer, Settled, Settling


class ObservedAgents(Agents):
    def __init__(self, inner: Agents, telemetry: Telemetry) -> None:
        self._inner = inner
        self._telemetry = telemetry
        self._observed: dict[str, ObservedAgent] = {}

    def get(self, agent_id: str) -> Agent:
        agent = self._inner.get(agent_id)
        observed = self._observed.get(agent_id)
        if observed is None or observed.inner is not agent:
            observed = self._observed[agent_id] = ObservedAgent(agent, self._telemetry)
        return observed

    def names(self) -> Sequence[str]:
        return self._inner.names()

    @property
    def left_behind(self) -> int:
        return self._inner.left_behind


class ObservedAgent(Agent):
    def __init__(self, inner: Agent, telemetry: Telemetry) -> None:
        self.inner = inner
        self._telemetry = telemetry

    async def run(self, attempt: Attempt) -> Answer:
        streams = self._telemetry.instruments.streams
        streams.add(1)
        try:
            with telling_of_nodes(self._telemetry, get_current_span()):
                return await self.inner.run(ObservedAttempt(attempt, self._telemetry))
        except BaseException as error:
            note_trouble(error)
            raise
        finally:
            streams.add(-1)

    async def settle(self, settling: Settling) -> Settled:
        attributes = names.attempt(settling.claim) | {"unbroken.settle.reason": settling.reason}
        with self._telemetry.span("settle history", SpanKind.INTERNAL, attributes):
            return await self.inner.settle(settling)


class ObservedAttempt(Attempt):
    """Notes the first text, and is out of the way from then on: each later one goes straight to the attempt."""

    def __init__(self, inner: Attempt, telemetry: Telemetry) -> None:
        self.claim = inner.claim
        self.gate = inner.gate
        self.fork = inner.fork
        self._inner = inner
        self._telemetry = telemetry
        self._span: Span = get_current_span()

    def begin_with(self, texts: Sequence[tuple[str, str]]) -> None:
        self._inner.begin_with(texts)

    def text(self, message_id: str, chunk: str) -> None:
        if chunk:
            self.text = self._inner.text  # type: ignore[method-assign]
            self._span.add_event("first token")
            label = {names.AGENT: self.claim.key.agent_id}
            self._telemetry.instruments.first_token.record(age_s(self.claim.event.created_at), label)
        self._inner.text(message_id, chunk)

    def text_ends(self, message_id: str) -> None:
        self._inner.text_ends(message_id)

    def tool(
        self,
        tool_call_id: str,
        name: str,
        phase: ToolPhase,
        data: str | None = None,
        namespace: tuple[str, ...] = (),
    ) -> None:
        self._inner.tool(tool_call_id, name, phase, data, namespace)

    def step(self, method: str, namespace: tuple[str, ...], data: bytes) -> None:
        self._inner.step(method, namespace, data)

    async def commit_superstep(self, change: StateChange) -> None:
        await self._inner.commit_superstep(change)
