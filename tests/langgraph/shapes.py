"""Graphs of every shape that a saver treats differently; deterministic, so that two savers can be compared."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from tests.langgraph.scripted import chain, model_node
from unbroken.adapters.langgraph.history import Graph

Builder = StateGraph[Any, Any, Any, Any]


def counting(name: str) -> Any:
    """Says how many messages it has seen, so a lost or doubled one changes every answer after it."""
    return model_node(lambda messages: f"{name} saw {len(messages)}")


def one_node() -> Graph:
    return chain(("answer", counting("answer")))


def three_nodes() -> Graph:
    return chain(*[(name, counting(name)) for name in ("plan", "work", "report")])


def tool_loop() -> Graph:
    def script(messages: list[BaseMessage]) -> AIMessage:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        if done % 2 == 1 or messages[-1].type == "human":
            return AIMessage("", tool_calls=[{"name": "look", "args": {"step": done}, "id": f"call-{len(messages)}"}])
        return AIMessage(f"looked {done} times")

    async def look(state: MessagesState) -> dict[str, Any]:
        last = state["messages"][-1]
        assert isinstance(last, AIMessage)
        return {"messages": [ToolMessage("seen", tool_call_id=str(call["id"])) for call in last.tool_calls]}

    builder: Builder = StateGraph(MessagesState)
    builder.add_node("agent", model_node(script))
    builder.add_node("look", look)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", lambda state: "look" if state["messages"][-1].tool_calls else END)
    builder.add_edge("look", "agent")
    return builder.compile()


class Fanned(MessagesState):
    parts: Annotated[list[str], operator.add]
    topic: str


class Part(TypedDict):
    number: int


def fan_out() -> Graph:
    async def plan(state: Fanned) -> dict[str, Any]:
        return {"topic": f"topic {len(state['messages'])}"}

    async def part(state: Part) -> dict[str, Any]:
        return {"parts": [f"part {state['number']}"]}

    async def collect(state: Fanned) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{state['topic']}: {', '.join(state['parts'])}", id=f"a{len(state['parts'])}")]}

    builder: Builder = StateGraph(Fanned)
    builder.add_node("plan", plan)
    builder.add_node("part", part)
    builder.add_node("collect", collect)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda state: [Send("part", {"number": n}) for n in range(3)], ["part"])
    builder.add_edge("part", "collect")
    builder.add_edge("collect", END)
    return builder.compile()


def subgraphs() -> Graph:
    """One that begins anew with each call, and one that remembers its calls."""

    class Memory(TypedDict):
        seen: Annotated[list[int], operator.add]
        messages: Annotated[list[AnyMessage], operator.add]

    async def note(state: Memory) -> dict[str, Any]:
        return {"seen": [len(state["messages"])]}

    remembering: Builder = StateGraph(Memory)
    remembering.add_node("note", note)
    remembering.add_edge(START, "note")
    memory = remembering.compile(checkpointer=True)

    async def remember(state: MessagesState) -> dict[str, Any]:
        kept = await memory.ainvoke({"messages": [], "seen": []})
        return {"messages": [AIMessage(f"remembered {len(kept['seen'])}", id=f"m{len(state['messages'])}")]}

    inner = chain(("think", counting("think")), ("say", counting("say")))
    return chain(("expert", inner), ("remember", remember), ("answer", counting("answer")))


def question() -> Graph:
    """Asks when the message holds a `?`; a sibling finishes meanwhile."""

    async def ask(state: MessagesState) -> dict[str, Any]:
        if "?" not in str(state["messages"][-1].content):
            return {}
        verdict = interrupt({"about": len(state["messages"])})
        return {"messages": [AIMessage(f"you decided {verdict}", id=f"q{len(state['messages'])}")]}

    async def sibling(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("meanwhile", id=f"s{len(state['messages'])}")]}

    builder: Builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_node("sibling", sibling)
    builder.add_node("answer", counting("answer"))
    builder.add_edge(START, "ask")
    builder.add_edge(START, "sibling")
    builder.add_edge(["ask", "sibling"], "answer")
    builder.add_edge("answer", END)
    return builder.compile()


class Deltas(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=4)]


def delta() -> Graph:
    return chain(*[(name, counting(name)) for name in ("plan", "work", "report")], state=Deltas)


SHAPES: dict[str, Callable[[], Graph]] = {
    shape.__name__: shape for shape in (one_node, three_nodes, tool_loop, fan_out, subgraphs, question, delta)
}
