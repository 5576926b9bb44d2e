"""A graph that keeps most of its state to itself: of the conversation, too, its output has nothing."""

from __future__ import annotations

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Given(MessagesState):
    question: str


class Told(TypedDict):
    answer: str


class Held(Given, Told):
    secret: str


async def look(state: Held) -> dict[str, str]:
    return {"secret": f"SECRET of {state['question']}"}


async def tell(state: Held) -> dict[str, object]:
    asked = interrupt("sure?") if state["question"] == "ask" else ""
    return {"answer": f"{state['question']}!{asked}", "secret": "SECRET still", "messages": [AIMessage("as told")]}


graph = (
    StateGraph(Held, input_schema=Given, output_schema=Told)
    .add_node(look)
    .add_node(tell)
    .add_edge(START, "look")
    .add_edge("look", "tell")
    .compile()
)
