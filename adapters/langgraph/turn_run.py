"""One attempt's run of a graph: what it streams, where it commits, and what it made of the event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, closing, nullcontext
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph import types as graph_types
from langgraph.pregel._tools import StreamToolCallHandler
from langgraph.types import StateSnapshot

from unbroken.adapters.langgraph.attachments import Attachments
from unbroken.adapters.langgraph.conversing import answer_of
from unbroken.adapters.langgraph.effects import effect_channels, node_effects
from unbroken.adapters.langgraph.habits import Habits
from unbroken.adapters.langgraph.history import Graph, History, kept_by, place_before, until
from unbroken.adapters.langgraph.inputs import own_ids
from unbroken.adapters.langgraph.known_messages import SplicingSerializer
from unbroken.adapters.langgraph.message_steps import MessageSteps
from unbroken.adapters.langgraph.messages import (
    as_dict,
    mend,
    messages_in,
    token_usage,
    unanswered_tool_calls,
)
from unbroken.adapters.langgraph.parked import questions_of, stands_still
from unbroken.adapters.langgraph.recent_heads import AttemptHead
from unbroken.adapters.langgraph.run_start import command_of, config_of, context_of, shape_of, without_run
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.adapters.langgraph.steps import Steps
from unbroken.adapters.langgraph.token_tap import TokenTap
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.events import RunStart, StateUpdate
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.turn import Answer, Fork, Question

Item = Mapping[str, Any]
"""One item of the stream mode `checkpoints`: a checkpoint of the root graph, and the nodes that run `next`."""

START = "__start__"


def remembering_nodes(graph: Graph) -> frozenset[str]:
    """The nodes that run, at whatever depth, a graph which remembers its own state between messages."""
    found = graph.get_subgraphs(recurse=True)
    return frozenset(where.partition("|")[0] for where, inner in found if getattr(inner, "checkpointer", None) is True)


class DanglingToolCalls(Exception):
    """The new message would follow tool calls that nobody answered."""


class TurnRun:
    def __init__(
        self,
        graph: Graph,
        checkpoints: AttemptHead,
        attempt: Attempt,
        habits: Habits,
        attachments: Attachments | None = None,
        remembering: frozenset[str] = frozenset(),
        *,
        whole: bool = False,
        former: RunStart | None = None,
    ) -> None:
        """`remembering`: see `remembering_nodes`. `whole`: every checkpoint is kept. `former`: how the run began that
        the event goes on with, if it is a run's and not its own."""
        claim = attempt.claim
        self.attempt = attempt
        self._head = checkpoints
        serde = SplicingSerializer(checkpoints.known)
        thread_id = claim.key.thread_id
        self.saver = StagingSaver(checkpoints, thread_id, head=claim.head, gate=attempt.gate, serde=serde, whole=whole)
        if attachments is not None:
            self.saver.attach(attachments)
        body = claim.event.body
        self.forks = attempt.fork is not None and not claim.resumes
        self._addressed: str | None = None
        """The checkpoint that the run is told to begin at. LangGraph has to know: it takes what ran from there before
        for another branch's, and so it must find the head where it is."""
        if attempt.fork is not None and self.forks:
            if isinstance(body, RunStart | StateUpdate):
                self._addressed = body.checkpoint_id
            else:
                self.saver.start_from(attempt.fork)
        self.graph: Graph = kept_by(graph, self.saver)
        steps = Steps(attempt, attachments)
        self.tap = TokenTap(attempt, habits, steps)
        self.effect_channels = effect_channels(graph.channels)
        rich = isinstance(body, RunStart) and body.rich
        handlers: list[BaseCallbackHandler] = [self.tap]
        self._steps: AbstractContextManager[Any] = nullcontext()
        if rich:
            messages = MessageSteps(steps)
            handlers += [messages, StreamToolCallHandler(steps.put, subgraphs=True)]
            self._steps = closing(messages)
        config = config_of(claim, former, graph.context_schema)
        self._shape = shape_of(body, former)
        # What is written beside the run must not look like a part of it: LangGraph would go on from there.
        self.config: RunnableConfig = {"configurable": without_run(config["configurable"])}
        # Only inherited: a streaming handler on the root's own list would make LangGraph run nodes by `astream`.
        self._running: RunnableConfig = {
            **config,
            "configurable": config["configurable"] | steps.configurable(graph.store, rich=rich),
            "callbacks": AsyncCallbackManager(handlers=[], inheritable_handlers=handlers),
        }
        self._asked = body if isinstance(body, RunStart) else RunStart()
        """What shapes the run; for a message, nothing does."""
        self._before_nodes = self._asked.interrupt_before or graph.interrupt_before_nodes
        self._after_nodes = self._asked.interrupt_after or graph.interrupt_after_nodes
        self._remembering = remembering
        self._event_id = claim.event.id
        self._own = own_ids(claim.event)
        self._before: dict[str, None] | None = None
        """Ids of the messages that were there before the event, in their order; None: not looked yet."""
        self._last: Item | None = None

    @property
    def history(self) -> History:
        return History(self.graph, self.config)

    async def snapshot(self, checkpoint_id: str | None = None) -> StateSnapshot:
        configurable = {**self.config["configurable"]}
        if checkpoint_id is not None:
            configurable["checkpoint_id"] = checkpoint_id
        return await self.graph.aget_state({"configurable": configurable})

    async def resume(self, *, commits: bool) -> None:
        """Go on inside the event, from its last committed superstep."""
        base = place_before(self.attempt.claim, None)
        messages = messages_in((await self.snapshot(base)).values) if base != "" else []
        self._before = until(messages, self._own) if base is None else _ids(messages)
        await self.drive(None, commits=commits)

    def begin_there(self, fork: Fork) -> None:
        """Take the fork's place for the head, to write there before the run begins."""
        self.saver.start_from(fork)
        self._addressed = None

    async def go_on(self, body: RunStart, *, commits: bool) -> None:
        """From where the state stands, or stood: with a command, or with nothing. Raises QuestionClosed."""
        entry: Any = None
        if body.command is not None:
            snapshot, open_questions = await self.snapshot(self._addressed), self.attempt.claim.open_questions
            entry = command_of(body.command, snapshot, self.effect_channels, open_questions)
        await self.drive(entry, commits=commits)

    async def write(self, update: StateUpdate) -> None:
        """Into the state, as if a node had returned it; a list, as if it had run once for each."""
        values = update.values if isinstance(update.values, list) else [update.values]
        steps = [[graph_types.StateUpdate(one, update.as_node)] for one in values]
        await self.graph.abulk_update_state(self._at(self.config), steps)

    async def drive(self, entry: Any, *, commits: bool) -> None:
        """Run to the end, or to a question. `commits`: after each superstep that another one follows.

        LangGraph yields a superstep's checkpoint after it was put and before any node of the next superstep
        starts, and waits while we hold it: that is where a superstep is committed.
        """
        previous: Item | None = None
        stream = self.graph.astream(
            entry,
            self._at(self._running),
            context=context_of(self._shape, self.graph.context_schema),
            stream_mode="checkpoints",
            interrupt_before=self._asked.interrupt_before,
            interrupt_after=self._asked.interrupt_after,
            durability="sync",
        )
        with self._steps:
            async with aclosing(stream) as items:  # type: ignore[type-var]
                async for item in items:
                    self.attempt.gate.check()
                    self._last = item
                    if previous is None:
                        self._begin(item, given=entry is not None)
                    else:
                        self._check_history(item)
                        self._settle(item, previous)
                        if commits and self._divides(item, previous):
                            await self.attempt.commit_superstep(self._take())
                    previous = item

    def _at(self, config: RunnableConfig) -> RunnableConfig:
        if self._addressed is None:
            return config
        return {**config, "configurable": {**config["configurable"], "checkpoint_id": self._addressed}}

    @property
    def unfinished(self) -> bool:
        return self._last is not None and bool(self._last["next"])

    async def answer(self) -> Answer:
        """What the event came to. The state is drained: call it once."""
        values = self._last["values"] if self._last is not None else {}
        new = [message for _, message in self._new(values)]
        questions, stands = await self._questions()
        collected = [effect for channel in self.effect_channels for effect in values.get(channel) or ()]
        return Answer(
            text=answer_of(self.graph, None if self._last is None or self.unfinished else values, new),
            content=[as_dict(message) for message in new],
            state=self._take(),
            questions=questions,
            effects=node_effects(collected),
            token_usage=token_usage(new),
            stands=stands,
        )

    async def _questions(self) -> tuple[tuple[Question, ...], bool]:
        """And whether the graph stands where nodes are to run next, without a question."""
        if self._last is not None and not self.unfinished:
            return (), False
        snapshot = await self.snapshot()
        if isinstance(self.attempt.claim.event.body, StateUpdate) and not snapshot.interrupts:
            return (), bool(snapshot.next)  # nobody has run up to here, so nobody is asked whether to go on
        return questions_of(snapshot), False

    def _take(self) -> StateChange:
        change = self.saver.take()
        self._head.advance(change)
        return change

    def _begin(self, item: Item, *, given: bool) -> None:
        """The first checkpoint: the head that a resume starts from, or the input before the graph has read it."""
        if self._before is None:
            self._before = _ids(messages_in(item["values"]))
        if not given:
            self.tap.begin_with(self._new(item["values"]))

    def _check_history(self, item: Item) -> None:
        """The event's messages are the last ones only until the first node adds another. Results of tools that ran
        elsewhere may come with them."""
        messages = messages_in(item["values"])
        if not messages or messages[-1].id not in self._own:
            return
        end = len(messages)
        while end and messages[end - 1].id in self._own and not isinstance(messages[end - 1], ToolMessage):
            end -= 1
        if unanswered_tool_calls(messages[:end]):
            raise DanglingToolCalls

    def _settle(self, item: Item, previous: Item) -> None:
        written = self.saver.staging.written(previous["config"]["configurable"]["checkpoint_id"], "messages")
        added = {task_id: self._added(values) for task_id, values in written.items()}
        new = self._new(item["values"])
        for _, message in new:
            mend(message)
        self.tap.settle(new, {task_id: ids for task_id, ids in added.items() if ids is not None})

    def _divides(self, item: Item, previous: Item) -> bool:
        """Whether a user's nodes ran before this checkpoint and others follow, and a resume from it would do the same.

        LangGraph tells each graph within the superstep that it resumes to resume as well: one that remembers would take
        its end of the message before for where it stands, and answer this one with nothing.
        """
        if not self._remembering.isdisjoint(item["next"]):
            return False
        ran = [node for node in previous["next"] if node != START]
        stops = stands_still(item, ran, self._before_nodes, self._after_nodes)
        return bool(ran) and bool(item["next"]) and not stops

    def _new(self, values: Mapping[str, Any]) -> list[tuple[str, BaseMessage]]:
        """(key, message) of the messages that this event added, in the state's order. Messages without an id
        count if they come after the event's own."""
        before = self._before or {}
        messages = messages_in(values)
        first = self._first_new(messages)
        new: list[tuple[str, BaseMessage]] = []
        own_seen = False
        for index, message in enumerate(messages[first:], first):
            if message.id in self._own:
                own_seen = True
            elif message.id is None and own_seen:
                new.append((f"{self._event_id}:{index}", message))
            elif message.id is not None and (message.id not in before or message.id in self.tap.heard):
                new.append((message.id, message))
        return new

    def _first_new(self, messages: Sequence[BaseMessage]) -> int:
        """Where to begin looking: a conversation mostly grows at its end, and is looked through at each superstep."""
        before = self._before or {}
        begins_alike = [message.id for message in messages[: len(before)]] == list(before)
        said_again = any(message_id in before for message_id in (*self._own, *self.tap.heard))
        return len(before) if begins_alike and not said_again else 0

    def _added(self, written: Sequence[Any]) -> set[str] | None:
        """Ids of the AI messages a task wrote that were not there before. None: it wrote something unusual."""
        added: set[str] = set()
        for value in written:
            for message in value if isinstance(value, list | tuple) else [value]:
                if not isinstance(message, BaseMessage):
                    return None
                if isinstance(message, AIMessage) and (
                    message.id not in (self._before or ()) or message.id in self.tap.heard
                ):
                    added.add(str(message.id))
        return added


def _ids(messages: Sequence[BaseMessage]) -> dict[str, None]:
    return dict.fromkeys(map(str, [message.id for message in messages]))
