"""A user's thread, driven by hand: accept, run an attempt, commit, crash in between."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any, Literal
from uuid import uuid4

import pytest
from langchain_core.messages import BaseMessage

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.postgres.store import PostgresStore
from unbroken.domain.checkpoints import ROOT, StateChange
from unbroken.domain.effects import NewEffect, SkipEvent, dedupe_key
from unbroken.domain.errors import AgentRaised, Fenced
from unbroken.domain.events import EventBody, InputResponse, NewEvent, RunStart, StateUpdate, UserMessage
from unbroken.domain.live_stream import LiveStream
from unbroken.domain.policy import CommitMode, question_id, questions_after
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.stream_parts import StepPart, ToolPart, ToolPhase
from unbroken.domain.turn import Answer, Fork, Gate, Settled, Settling, TurnChange

Store = MemoryStore | PostgresStore


class Crash(BaseException):
    """The process dies here."""


def reply(own_id: str, value: Any) -> InputResponse:
    """The answer to a question of the agent's, under the id by which clients know it."""
    return InputResponse(question_id(own_id, 1), value)


def end_of(claim: Claim) -> tuple[NewEffect, ...]:
    """Every event has its end in the log; here nobody reads it."""
    key = dedupe_key(claim.event.id, "", 0, 0, "skip_event")
    return (NewEffect(uuid4().hex, 0, SkipEvent("driven by hand"), key),)


class ObservedAttempt(Attempt):
    """Commits for real, and remembers what a user would have seen."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self.store = store
        self.claim = claim
        self.gate = Gate()
        self.fork: Fork | None = None
        self.stream = LiveStream()
        self.chunks: list[tuple[str, str]] = []
        self.begun_with: list[tuple[str, str]] = []
        self.supersteps: list[StateChange] = []
        self._thread = threading.get_ident()

    def begin_with(self, texts: Sequence[tuple[str, str]]) -> None:
        self.begun_with.extend(texts)
        for message_id, text in texts:
            self.stream.begin_with(message_id, text)

    def text(self, message_id: str, chunk: str) -> None:
        assert threading.get_ident() == self._thread, "the live stream belongs to the event loop"
        if self.gate.open:
            self.chunks.append((message_id, chunk))
            self.stream.append(message_id, chunk)

    def text_ends(self, message_id: str) -> None:
        self.stream.close(message_id)

    def tool(
        self,
        tool_call_id: str,
        name: str,
        phase: ToolPhase,
        data: str | None = None,
        namespace: tuple[str, ...] = (),
    ) -> None:
        self.stream.tool(tool_call_id, name, phase, data, namespace)

    def step(self, method: str, namespace: tuple[str, ...], data: bytes) -> None:
        assert threading.get_ident() == self._thread, "the live stream belongs to the event loop"
        if self.gate.open:
            self.stream.step(method, namespace, data)

    async def commit_superstep(self, change: StateChange) -> None:
        self.gate.check()
        self.supersteps.append(change)
        await self.store.unit_of_work.commit(TurnChange(self.claim, change, finishes=False))

    @property
    def steps(self) -> list[tuple[str, tuple[str, ...], Any]]:
        """(method, namespace, what was said) of everything shown beside text and tools."""
        parts = [part for part in self.stream.beyond(0)[0] if isinstance(part, StepPart)]
        return [(part.method, part.namespace, json.loads(part.data or b"null")) for part in parts]

    @property
    def tools(self) -> list[ToolPart]:
        return [part for part in self.stream.parts if isinstance(part, ToolPart)]


class Chat:
    """One thread of one agent."""

    def __init__(
        self,
        graph: Graph,
        *,
        store: Store | None = None,
        commit: CommitMode = CommitMode.SUPERSTEP,
        thread_id: str = "",
    ) -> None:
        self.store = store or MemoryStore(SystemClock())
        self.graph = graph
        self.agent = LangGraphAgent(graph, self.store.checkpoints, commit=commit)
        self.key = SessionKey("ann", "demo", thread_id or f"thread-{uuid4().hex[:12]}")
        self.attempts: list[ObservedAttempt] = []
        self.requests: dict[str, str] = {}
        """Request ids, by the ids of their events."""
        self._replica = 0

    @property
    def seen(self) -> ObservedAttempt:
        """The last attempt."""
        return self.attempts[-1]

    async def accept(self, body: EventBody | str, event_id: str = "") -> Claim:
        if not self._replica:
            self._replica = (await self.store.replicas.join(f"replica-{uuid4().hex[:8]}", lease_ttl_s=600)).id
        event = NewEvent(
            event_id or f"event-{uuid4().hex[:12]}", uuid4().hex, UserMessage(body) if isinstance(body, str) else body
        )
        self.requests[event.id] = event.request_id
        receipt = await self.store.event_store.accept(self.key, event, replica=self._replica, queue_limit=100)
        assert receipt.claim is not None
        return receipt.claim

    async def reclaim(self) -> Claim:
        """What the next process does with an attempt that died."""
        claim = await self.store.sessions.claim(self.key.thread_id, replica=self._replica)
        assert claim is not None
        return claim

    def attempt(self, claim: Claim) -> ObservedAttempt:
        self.attempts.append(ObservedAttempt(self.store, claim))
        return self.attempts[-1]

    async def run(self, claim: Claim) -> Answer:
        """One attempt, and its finishing commit."""
        answer = await self.work(claim)
        await self.finish(claim, answer)
        return answer

    async def work(self, claim: Claim) -> Answer:
        try:
            return await self.agent.run(await self.begun(claim))
        except AgentRaised as error:
            if isinstance(error.__cause__, Crash):
                raise error.__cause__ from None  # nothing of ours would be there to make a failed turn of it
            raise

    async def finish(self, claim: Claim, answer: Answer) -> None:
        open_ = questions_after(claim, answer.questions).open
        change = TurnChange(claim, answer.state, True, end_of(claim), open_questions=open_)
        await self.store.unit_of_work.commit(change)

    async def begun(self, claim: Claim) -> ObservedAttempt:
        """An attempt that knows where it starts, as the session's processor makes it."""
        attempt, body = self.attempt(claim), claim.event.body
        if isinstance(body, RunStart | StateUpdate) and body.checkpoint_id and not claim.resumes:
            attempt.fork = Fork(((ROOT, body.checkpoint_id),))
        if isinstance(body, UserMessage) and body.replaces is not None and not claim.resumes:
            attempt.fork = await self.store.sessions.before(self.key.thread_id, body.replaces)
            assert attempt.fork is not None
        return attempt

    async def stop(self, claim: Claim, reached: asyncio.Event) -> Settled:
        """An attempt that is cancelled once it has `reached` something, and its durable end."""
        attempt = await self.begun(claim)
        run = asyncio.ensure_future(self.agent.run(attempt))
        waiting = asyncio.ensure_future(reached.wait())
        await asyncio.wait({run, waiting}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert reached.is_set(), run
        attempt.gate.close("cancelled")
        run.cancel()
        with pytest.raises((asyncio.CancelledError, Fenced)):
            await run
        return await self.settle(attempt, "cancelled")

    async def fail(self, claim: Claim) -> Settled:
        """An attempt that fails, and its durable end."""
        attempt = await self.begun(claim)
        with pytest.raises(AgentRaised):
            await self.agent.run(attempt)
        attempt.gate.close("failed")
        return await self.settle(attempt, "failed")

    async def settle(self, attempt: ObservedAttempt, reason: Literal["cancelled", "failed"]) -> Settled:
        claim = attempt.claim
        heads = [head for change in attempt.supersteps for ns, head in change.heads if ns == ROOT]
        head = heads[-1] if heads else claim.head
        settling = Settling(claim, head, attempt.stream.messages, reason, attempt.fork)
        settled = await self.agent.settle(settling)
        open_ = () if settled.state != StateChange() else claim.open_questions
        change = TurnChange(claim, settled.state, True, end_of(claim), open_questions=open_)
        await self.store.unit_of_work.commit(change)
        return settled

    async def revert(self, claim: Claim) -> None:
        """The durable end of a failed event."""
        await self.store.unit_of_work.commit(TurnChange(claim, StateChange(), True, end_of(claim), reverts=True))

    async def say(self, body: EventBody | str, event_id: str = "") -> Answer:
        return await self.run(await self.accept(body, event_id))

    async def values(self) -> dict[str, Any]:
        """The committed state, as a fresh process reads it."""
        head = await self.store.checkpoints.load(self.key.thread_id, "", None)
        saver = StagingSaver(self.store.checkpoints, self.key.thread_id, head=head.row.checkpoint_id if head else "")
        graph = self.graph.copy(update={"checkpointer": saver})
        return dict((await graph.aget_state({"configurable": {"thread_id": self.key.thread_id}})).values)

    async def messages(self) -> list[BaseMessage]:
        return list((await self.values()).get("messages", []))

    async def spoken(self) -> list[tuple[str, str]]:
        return [(message.type, str(message.content)) for message in await self.messages()]
