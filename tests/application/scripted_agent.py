"""An agent that does what a test says, and remembers in its state what it has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import msgspec

from unbroken.domain.checkpoints import ROOT, CheckpointRow, StateChange
from unbroken.domain.errors import UnknownAgent
from unbroken.domain.events import InputResponse, UserMessage
from unbroken.domain.ports.agent import Agent, Agents, Attempt
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.session import Claim
from unbroken.domain.stream_parts import join_messages
from unbroken.domain.turn import Answer, Fork, NodeEffect, Question, Settled, Settling

Script = Callable[[Attempt], Awaitable[str]]
"""Works on an attempt and returns its answer's text."""

TOKEN_S = 0.01


def asked(claim: Claim) -> str:
    body = claim.event.body
    if isinstance(body, InputResponse):
        return str(body.value)
    return str(body.content) if isinstance(body, UserMessage) else "a timer"


async def echo(attempt: Attempt) -> str:
    """Three tokens, a moment apart."""
    words = ["re: ", asked(attempt.claim), "!"]
    for word in words:
        await asyncio.sleep(TOKEN_S)
        attempt.text(attempt.claim.event.id, word)
    return "".join(words)


class ScriptedAgent(Agent):
    def __init__(self, checkpoints: Checkpoints, script: Script = echo) -> None:
        self.script = script
        self.questions: tuple[Question, ...] = ()
        self.effects: tuple[NodeEffect, ...] = ()
        self.runs: list[Claim] = []
        """Every attempt that was begun, in order."""
        self.settled: list[Settling] = []
        self.unsettling: Exception | None = None
        """What `settle` raises."""
        self.settles_after_s: list[float] = []
        """How long it takes, one time after another; then it takes no time."""
        self.running = 0
        self.most_running = 0
        self._checkpoints = checkpoints
        self._numbers = count(1)

    async def run(self, attempt: Attempt) -> Answer:
        self.runs.append(attempt.claim)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            text = await self.script(attempt)
            state = await self.after(attempt.claim, fork=attempt.fork)
        finally:
            self.running -= 1
        content = [{"id": f"answer-{attempt.claim.event.id}", "role": "assistant", "content": text}]
        return Answer(text, content, state, self.questions, self.effects)

    async def settle(self, settling: Settling) -> Settled:
        self.settled.append(settling)
        if self.settles_after_s:
            await asyncio.sleep(self.settles_after_s.pop(0))
        if self.unsettling is not None:
            raise self.unsettling
        fork = settling.fork if settling.head == settling.claim.head else None
        return Settled(await self.after(settling.claim, fork=fork), join_messages([text for _, text in settling.texts]))

    async def after(self, claim: Claim, *, partly: bool = False, fork: Fork | None = None) -> StateChange:
        """The state that follows from the claim's, or from where a fork goes on: it has heard one event more."""
        heard = await heard_by(self._checkpoints, claim.key.thread_id, fork.heads[0][1] if fork else None)
        if heard[-1:] not in ([claim.event.id], [f"{claim.event.id} (partly)"]):
            heard = [*heard, claim.event.id]
        heard[-1] = f"{claim.event.id} (partly)" if partly else claim.event.id
        checkpoint = msgspec.json.encode({"channel_versions": {}, "heard": heard})
        row = CheckpointRow(ROOT, f"{claim.run:06}-{next(self._numbers):06}", claim.head or None, checkpoint, b"{}")
        return StateChange(checkpoints=(row,), heads=((ROOT, row.checkpoint_id),))


async def heard_by(checkpoints: Checkpoints, thread_id: str, checkpoint_id: str | None = None) -> list[str]:
    """Ids of the events that the committed state holds, or held at a checkpoint ("": before the first)."""
    stored = await checkpoints.load(thread_id, ROOT, checkpoint_id) if checkpoint_id != "" else None
    if stored is None:
        return []
    heard: list[str] = msgspec.json.decode(stored.row.checkpoint)["heard"]
    return heard


class OneAgent(Agents):
    left_behind = 0

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def get(self, agent_id: str) -> Agent:
        if agent_id != "demo":
            raise UnknownAgent(agent_id)
        return self._agent

    def names(self) -> Sequence[str]:
        return ["demo"]
