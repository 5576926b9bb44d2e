"""plan → many parts side by side → write: what a fan-out, graphs within it and their questions make of one turn.

`fan=3` sends to three parts, `deep=3` to three graphs of their own, of which `asks=2` ask: the first ones. `pause=0.1`
is what each part takes. A part that ran twice, or was lost, is seen in the next answer: each knows the ones before it.
"""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send, interrupt

from tests.graphs.scripted import ScriptedModel, said
from tests.graphs.speech import option


class State(MessagesState):
    parts: Annotated[list[str], operator.add]


class Part(TypedDict):
    number: int
    asks: bool
    pause_s: float
    parts: Annotated[list[str], operator.add]


class Done(TypedDict):
    """What a part gives back: its number is its own."""

    parts: Annotated[list[str], operator.add]


async def plan(state: State) -> dict[str, Any]:
    return {"messages": [await ScriptedModel().ainvoke(state["messages"])]}


def parts_of(state: State) -> list[Send] | str:
    told = said(state["messages"])
    turn = sum(isinstance(message, HumanMessage) for message in state["messages"])
    asks, pause_s = int(option(told, "asks", 0)), float(option(told, "pause", 0.0))
    found = [
        Send(to, Part(number=100 * turn + number, asks=number < asks, pause_s=pause_s, parts=[]))
        for to, name in (("part", "fan"), ("deep", "deep"))
        for number in range(int(option(told, name, 0)))
    ]
    return found or "write"


async def think(state: Part) -> dict[str, Any]:
    await asyncio.sleep(state["pause_s"])
    return {"parts": [f"thought {state['number']}"]}


async def part(state: Part) -> dict[str, Any]:
    await asyncio.sleep(state["pause_s"])
    heard = f" {interrupt({'part': state['number']})}" if state["asks"] else ""
    return {"parts": [f"{state['number']}{heard}"]}


async def write(state: State) -> dict[str, Any]:
    """Says all that was done in this conversation, and then what its model makes of it."""
    done = [AIMessage("done: " + ", ".join(state["parts"]))] if state["parts"] else []
    return {"messages": [*done, await ScriptedModel().ainvoke([*state["messages"], *done])]}


deep = (
    StateGraph(Part, output_schema=Done)
    .add_node(think)
    .add_node(part)
    .add_edge(START, "think")
    .add_edge("think", "part")
    .compile()
)

graph = (
    StateGraph(State)
    .add_node(plan)
    .add_node(part)
    .add_node("deep", deep)
    .add_node(write)
    .add_edge(START, "plan")
    .add_conditional_edges("plan", parts_of, ["part", "deep", "write"])
    .add_edge("part", "write")
    .add_edge("deep", "write")
    .compile()
)
