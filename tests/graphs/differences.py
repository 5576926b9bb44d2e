"""Its messages are kept as differences, from which the state is put together whenever it is read."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.message import _messages_delta_reducer

from tests.graphs.scripted import ScriptedModel


class State(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=4)]


async def think(state: State) -> dict[str, Any]:
    return {}


async def answer(state: State) -> dict[str, Any]:
    return {"messages": [await ScriptedModel().ainvoke(state["messages"])]}


graph = (
    StateGraph(State).add_node(think).add_node(answer).add_edge(START, "think").add_edge("think", "answer").compile()
)
