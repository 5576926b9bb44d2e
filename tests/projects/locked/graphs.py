"""Graphs that tell what the rules have heard of their run, at once or when they are answered; one that not everybody
may run; and one that never ends."""

import asyncio
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


def told(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    return {"messages": [AIMessage(config["configurable"]["heard"])]}


def secret(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("the secret")]}


async def never(state: MessagesState) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


def asked(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    return {"messages": [AIMessage(f"{interrupt('now?')}: {config['configurable']['heard']}")]}


def graph_of(node: Any) -> Any:
    return StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()


tell, vault, slow, ask = graph_of(told), graph_of(secret), graph_of(never), graph_of(asked)
