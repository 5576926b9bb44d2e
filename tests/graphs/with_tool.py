"""A model that calls a tool, and speaks of its result."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.graphs.scripted import ScriptedModel


@tool
async def weigh(grams: int) -> str:
    """Put something on the scales."""
    if grams > 9000:
        raise ValueError("too heavy")
    return f"{grams} g"


async def model(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await ScriptedModel(tools=True).ainvoke(state["messages"])]}


graph = (
    StateGraph(MessagesState)
    .add_node(model)
    .add_node("tools", ToolNode([weigh], handle_tool_errors=True))
    .add_edge(START, "model")
    .add_conditional_edges("model", tools_condition)
    .add_edge("tools", "model")
    .compile()
)
