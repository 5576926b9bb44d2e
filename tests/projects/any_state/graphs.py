"""Graphs whose state is not a conversation."""

import asyncio

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

slow = asyncio.Event()
"""Somebody has asked for what takes long."""


class Wish(TypedDict):
    topic: str
    words: int


class Joke(TypedDict):
    joke: str
    told: int


class State(Wish, Joke):
    notes: list[str]


async def write(state: State) -> dict[str, object]:
    if state["topic"] == "slow":
        slow.set()
        await asyncio.sleep(600)
    if state["topic"] == "broken":
        raise ValueError("no such topic")
    return {"notes": [state["topic"]]}


async def tell(state: State) -> dict[str, object]:
    return {"joke": f"{state['notes'][0]} in {state['words']}", "told": state.get("told", 0) + 1}


async def ask(state: State) -> dict[str, object]:
    return {"joke": f"{state['topic']}: {interrupt('really?')}"}


jokes = (
    StateGraph(State, input_schema=Wish, output_schema=Joke)
    .add_node("write", write)
    .add_node("tell", tell)
    .add_edge(START, "write")
    .add_edge("write", "tell")
)
asking = StateGraph(State, input_schema=Wish).add_node("ask", ask).add_edge(START, "ask").compile()
