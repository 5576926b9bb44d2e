"""A graph within a graph that remembers its own state between messages: two heads that have to move together."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from tests.graphs.scripted import ScriptedModel


async def greet(state: MessagesState) -> dict[str, Any]:
    """Is on the screen before the inner graph begins, whose own words come when it has ended."""
    return {"messages": [AIMessage("one moment")]}


async def think(state: MessagesState) -> dict[str, Any]:
    return {}


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await ScriptedModel().ainvoke(state["messages"])]}


inner = (
    StateGraph(MessagesState)
    .add_node(think)
    .add_node(answer)
    .add_edge(START, "think")
    .add_edge("think", "answer")
    .compile(checkpointer=True)
)

graph = (
    StateGraph(MessagesState)
    .add_node(greet)
    .add_node("inner", inner)
    .add_edge(START, "greet")
    .add_edge("greet", "inner")
    .compile()
)
