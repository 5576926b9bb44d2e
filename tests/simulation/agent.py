"""An agent that does what the plan of each message says, with a state of its own in the checkpoint tables.

Its words differ from try to try, as a model's do; what it has committed of an event it takes up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tests.simulation.loop import actor
from tests.simulation.overheard import Overheard
from tests.simulation.plans import WORDS, Plan
from unbroken.domain.checkpoints import ROOT, CheckpointRow, StateChange
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.errors import AgentRaised, BranchGone, QuestionClosed, UnknownAgent
from unbroken.domain.events import InputResponse, RunStart, StateUpdate, TimerFired, UserMessage, said_by
from unbroken.domain.live_stream import MAX_UNITS
from unbroken.domain.policy import own_question_id
from unbroken.domain.ports.agent import Agent, Agents, Attempt
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.session import Claim
from unbroken.domain.stream_parts import join_messages
from unbroken.domain.turn import Answer, Fork, NodeEffect, Question, Settled, Settling
from unbroken.domain.utf16 import well_formed

if TYPE_CHECKING:
    from tests.simulation.world import World

DEFAULT = "demo"


class Message(Struct):
    id: str
    of: str
    """The event that it belongs to."""
    text: str = ""
    """Of an answer; a user's words are in the event."""


class Memory(Struct):
    """What one checkpoint holds."""

    messages: list[Message] = []
    step: int = 0
    """Supersteps of the unfinished event that are done."""
    asked: list[str] = []
    """Own ids of the questions that wait."""

    def of(self, event_id: str) -> list[Message]:
        return [message for message in self.messages if message.of == event_id and message.id != event_id]


def memory_of(checkpoint: bytes) -> Memory:
    return msgspec.convert(msgspec.json.decode(checkpoint)["memory"], Memory)


class PlannedAgent(Agent):
    def __init__(self, world: World, checkpoints: Checkpoints, *, supersteps: bool) -> None:
        """`supersteps`: each is committed when it is done."""
        self._world = world
        self._checkpoints = checkpoints
        self._supersteps = supersteps

    async def run(self, attempt: Attempt) -> Answer:
        claim = attempt.claim
        plan = self._plan(claim)
        memory, parent = await self._memory(claim, attempt.fork)
        with self._world.calling(claim) as call:
            call.heard = Overheard(attempt)
            answer = await _Work(self, call.heard, plan, memory, parent, call).done()
            call.answer = answer.text
            return answer

    async def settle(self, settling: Settling) -> Settled:
        claim = settling.claim
        if self._plan(claim).trouble(claim.tries) == "unsettled":
            raise RuntimeError("no history can be made of this")
        fork = settling.fork if settling.head == claim.head else None
        memory, parent = await self._memory(claim, fork, head=settling.head)
        if all(message.id != claim.event.id for message in memory.messages):
            memory.messages.append(Message(claim.event.id, claim.event.id))
        known = {message.id for message in memory.messages}
        memory.messages += [Message(id_, claim.event.id, text) for id_, text in settling.texts if id_ not in known]
        memory.asked, memory.step = [], 0
        return Settled(self.change(claim, memory, parent), join_messages([text for _, text in settling.texts]))

    def change(self, claim: Claim, memory: Memory, parent: str | None) -> StateChange:
        """The state after `parent`: its id grows along a conversation, whatever the clock here says."""
        micros = round((self._world.loop.time() + actor().skew_s + 10_000) * 1e6)
        after = int(parent.partition("-")[0]) if parent else 0
        checkpoint_id = f"{max(micros, after + 1):020}-{self._world.serial()}"
        checkpoint = msgspec.json.encode({"channel_versions": {}, "memory": memory})
        row = CheckpointRow(ROOT, checkpoint_id, parent or None, checkpoint, b"{}")
        return StateChange(checkpoints=(row,), heads=((ROOT, checkpoint_id),))

    @property
    def commits_supersteps(self) -> bool:
        return self._supersteps

    @property
    def world(self) -> World:
        return self._world

    def _plan(self, claim: Claim) -> Plan:
        body = claim.event.body
        if isinstance(body, UserMessage):
            return self._world.plans.of(str(body.content))
        if isinstance(body, TimerFired):
            return self._world.plans.of(str(body.payload))
        if isinstance(body, RunStart):
            resume = body.resume
            named = next(iter(resume.values())) if isinstance(resume, dict) else resume
            return self._world.plans.of(str(named if resume is not None else said_by(body)))
        if isinstance(body, StateUpdate):
            return self._world.plans.of(str(body.values["note"]))
        return self._world.plans.of(str(body.value))

    async def _memory(self, claim: Claim, fork: Fork | None, *, head: str | None = None) -> tuple[Memory, str | None]:
        """The memory to go on from, and the id of its checkpoint ("" or None: there is none)."""
        wanted = fork.heads[0][1] if fork is not None else head if head is not None else claim.head
        stored = await self._checkpoints.load(claim.key.thread_id, ROOT, wanted) if wanted != "" else None
        if stored is None and fork is not None and wanted:
            raise BranchGone("the checkpoint is gone")
        if stored is None:
            return Memory(), ""
        return memory_of(stored.row.checkpoint), stored.row.checkpoint_id


class _Work:
    """One try at one event."""

    def __init__(
        self, agent: PlannedAgent, attempt: Attempt, plan: Plan, memory: Memory, parent: str | None, call: Any
    ) -> None:
        self._agent = agent
        self._attempt = attempt
        self._claim = attempt.claim
        self._plan = plan
        self._memory = memory
        self._parent = parent
        self._call = call
        self._trouble = plan.trouble(attempt.claim.tries)
        self._said = 0

    async def done(self) -> Answer:
        event_id = self._claim.event.id
        memory = self._memory
        if isinstance(self._claim.event.body, StateUpdate):
            if self._trouble not in ("swallow", "lingers"):  # it never speaks
                await self._be_in_trouble()
            if self._plan.end == "fail":
                raise AgentRaised("no node is called that")
            self._hear()
            return Answer("", [], self._agent.change(self._claim, memory, self._parent))
        if self._claim.resumes:
            self._attempt.begin_with([(message.id, message.text) for message in memory.of(event_id)])
        else:
            self._hear()
        for number in range(memory.step, len(self._plan.steps)):
            await self._step(number)
        if self._plan.end == "fail":
            self._call.end = "failed"
            raise AgentRaised("no")
        if self._plan.end == "too_long":
            self._attempt.text(f"long-{event_id}", "z" * (MAX_UNITS + 1))
            await asyncio.sleep(0.5)
        memory.step = 0
        questions: tuple[Question, ...] = ()
        if self._plan.end == "ask":
            memory.asked += [f"q{number}-{event_id}" for number in range(self._plan.questions)]
        questions = tuple(Question(asked, f"{asked}?") for asked in memory.asked)
        texts = [message.text for message in memory.of(event_id)]
        text = join_messages(texts)
        if self._plan.end == "revised":
            text = f"revised: {text}"
        content = [{"id": message.id, "role": "assistant", "content": message.text} for message in memory.of(event_id)]
        self._call.end = "asked" if questions else "answered"
        state = self._agent.change(self._claim, memory, self._parent)
        return Answer(text, content, state, questions, self._effects())

    def _hear(self) -> None:
        event, memory = self._claim.event, self._memory
        memory.step = 0
        if isinstance(event.body, InputResponse):
            answered = own_question_id(event.body.interrupt_id)
            memory.asked = [asked for asked in memory.asked if asked != answered]
        elif isinstance(event.body, RunStart) and event.body.resume is not None:
            resume = event.body.resume
            if isinstance(resume, dict) and resume.keys().isdisjoint(self._claim.open_questions):
                raise QuestionClosed("none of these questions is open any more")
            named = {own_question_id(id_) for id_ in resume} if isinstance(resume, dict) else {*memory.asked}
            memory.asked = [asked for asked in memory.asked if asked not in named]
        else:
            memory.asked = []
        memory.messages.append(Message(event.id, event.id))

    async def _step(self, number: int) -> None:
        step = self._plan.steps[number]
        event_id, run = self._claim.event.id, self._claim.run
        message = Message(f"a{number}-{event_id}-{run}", event_id)
        beside = [Message(f"b{part}-{message.id}", event_id) for part in range(self._plan.beside if number == 0 else 0)]
        for tool in range(step.tools):
            self._attempt.tool(f"c{tool}-{message.id}", "look", "started", "{}")
        for _ in range(step.words):
            await asyncio.sleep(step.pause_s)
            await self._be_in_trouble()
            self._speak([message, *beside])
        if not step.words:
            await self._be_in_trouble()
        for speaking in (*reversed(beside), message):
            self._attempt.text_ends(speaking.id)
        for tool in range(step.tools):
            await asyncio.sleep(step.pause_s)
            self._attempt.tool(f"c{tool}-{message.id}", "look", "finished", "{}")
        for spoken in (message, *beside):
            spoken.text = well_formed(spoken.text)
        self._memory.messages += [spoken for spoken in (message, *beside) if spoken.text]
        self._memory.step = number + 1
        if self._agent.commits_supersteps and number + 1 < len(self._plan.steps):
            change = self._agent.change(self._claim, self._memory, self._parent)
            await self._attempt.commit_superstep(change)
            self._parent = change.heads[0][1]

    def _speak(self, messages: Sequence[Message]) -> None:
        """A word of each."""
        for message in messages:
            word = self._agent.world.random.choice(WORDS)
            message.text += word
            self._said += 1
            self._attempt.text(message.id, word)
        if self._said % 3 == 0:
            thought = msgspec.json.encode({"messageId": messages[0].id, "text": f"{self._said} 🙂 "})
            for _ in range(3):
                self._attempt.step("reasoning", (), thought)
        if len(messages) > 1:
            self._attempt.step("custom", ("part:1",), b'{"done":1}')
        self._agent.world.turns.speaks(self._call.doing)

    async def _be_in_trouble(self) -> None:
        if self._said < self._plan.trouble_at:
            return
        trouble, self._trouble = self._trouble, "none"
        if trouble != "none":
            self._agent.world.nemesis.model(trouble, self._claim.key.thread_id)
        match trouble:
            case "retryable":
                self._call.end = "retryable"
                raise AgentRaised("overloaded", retryable=True)
            case "hang":
                await asyncio.sleep(1_000)
            case "swallow":
                await self._go_on_regardless()
            case "lingers":
                self._agent.world.keep(asyncio.ensure_future(self._linger()))
            case "unsettled":
                self._call.end = "failed"
                raise AgentRaised("and nothing can be made of it")

    async def _go_on_regardless(self) -> None:
        for _ in range(30):
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                continue
            self._attempt.text(f"deaf-{self._claim.run}", "la ")

    async def _linger(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0.05)
            self._attempt.text(f"left-{self._claim.run}", "lo ")
            self._attempt.tool(f"left-{self._claim.run}", "look", "started")

    def _effects(self) -> tuple[NodeEffect, ...]:
        plan = self._plan
        timers = [ScheduleTimer(after_s, f"timer of {plan.name}", plan.timer_id) for after_s in plan.timers_s]
        return tuple(NodeEffect(timer, "talk", 0, number) for number, timer in enumerate(timers))


class PlannedAgents(Agents):
    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def get(self, agent_id: str) -> Agent:
        if agent_id != DEFAULT:
            raise UnknownAgent(agent_id)
        return self._agent

    def names(self) -> Sequence[str]:
        return [DEFAULT]
