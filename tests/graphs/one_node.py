"""The smallest agent: one node, one model call."""

from __future__ import annotations

from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

from tests.graphs.scripted import ScriptedModel


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await ScriptedModel().ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
