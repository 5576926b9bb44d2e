"""Graphs that run, ask and branch, and whoever asks them for it as LangGraph's own clients do."""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from tests.langgraph.driving import Chat, Store
from tests.langgraph.scripted import chain
from unbroken.adapters.langgraph.history import Graph, kept_by
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.domain.events import InputResponse, RunStart, StateUpdate
from unbroken.domain.turn import Answer


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], operator.add]


def logs(name: str) -> Any:
    def node(state: State) -> dict[str, Any]:
        return {"log": [name], "messages": [AIMessage(f"{name} after {len(state['log'])}")]}

    return node


def asks(name: str) -> Any:
    def node(state: State) -> dict[str, Any]:
        return {"log": [f"{name}: {interrupt(name)}"]}

    return node


def human(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text, **more}], "log": []}


STEPS = chain(("one", logs("one")), ("two", logs("two")), ("three", logs("three")), state=State)


ASKS = chain(("one", logs("one")), ("ask", asks("ask")), ("two", logs("two")), state=State)


def side_by_side() -> Graph:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in ("left", "right"):
        builder.add_node(name, asks(name))
        builder.add_edge(START, name)
        builder.add_edge(name, "end")
    builder.add_node("end", logs("end"))
    builder.add_edge("end", END)
    return builder.compile()


def routed() -> Graph:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)

    def first(state: State) -> Command[Any]:
        return Command(goto=[Send("part", {"n": n}) for n in range(2)], update={"log": ["first"]})

    builder.add_node("first", first, destinations=("part",))
    builder.add_node("part", lambda state: {"log": [f"part {state['n']}"]})
    builder.add_node("aside", logs("aside"))
    builder.add_edge(START, "first")
    return builder.compile()


def within() -> Graph:
    inner = chain(("deep", asks("deep")), ("after", logs("after")), state=State)
    return chain(("before", logs("before")), ("inner", inner), state=State)


class Ours:
    """What is asked, asked of us."""

    def __init__(self, graph: Graph, store: Store | None = None) -> None:
        self.chat = Chat(graph, store=store)

    async def run(self, entry: Any = None, *, step: int | None = None, **more: Any) -> Answer:
        command = {"command": entry.command} if isinstance(entry, Order) else {"input": entry}
        return await self.event(RunStart(**command, checkpoint_id=await self.checkpoint(step), **more))

    async def update(self, values: Any, as_node: str | None = None, *, step: int | None = None) -> Answer:
        return await self.event(StateUpdate(values, as_node, await self.checkpoint(step)))

    async def event(self, body: RunStart | StateUpdate | InputResponse) -> Answer:
        self.last = await self.chat.say(body)
        return self.last

    async def checkpoint(self, step: int | None) -> str | None:
        """The newest one of this step."""
        if step is None:
            return None
        found = await self.chat.store.checkpoints.history(self.chat.key.thread_id, "")
        return next(one.row.checkpoint_id for one in found if json.loads(one.row.metadata)["step"] == step)

    async def ids(self) -> dict[str, str]:
        """Of the open questions, by what they ask."""
        return asked(self.last)

    async def ended(self) -> dict[str, Any]:
        head = await self.chat.store.checkpoints.load(self.chat.key.thread_id, "", None)
        saver = StagingSaver(
            self.chat.store.checkpoints, self.chat.key.thread_id, head=head.row.checkpoint_id if head else ""
        )
        return await state_of(kept_by(self.chat.graph, saver), self.chat.key.thread_id)


class Order:
    """A command, as JSON where it is ours and as LangGraph's where it is theirs."""

    def __init__(self, **command: Any) -> None:
        self.command = command


async def state_of(graph: Graph, thread_id: str) -> dict[str, Any]:
    state = await graph.aget_state({"configurable": {"thread_id": thread_id}})
    messages: Sequence[BaseMessage] = state.values.get("messages", [])
    return {
        "log": state.values.get("log"),
        "messages": [(message.type, message.content) for message in messages],
        "next": sorted(state.next),
        "asked": sorted(str(one.value) for one in state.interrupts),
    }


def asked(answer: Answer) -> dict[str, str]:
    return {str(question.value): question.interrupt_id for question in answer.questions}
