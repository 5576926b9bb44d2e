"""Graphs whose state is not a conversation."""

import asyncio

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel
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


class Reply(TypedDict):
    answer: str


class Asked(MessagesState, Reply):
    pass


async def reply(state: Asked) -> dict[str, object]:
    match state["messages"][-1].content:
        case "speak":
            return {"messages": [AIMessage("I speak")], "answer": "spoken"}
        case "ask":
            return {"answer": interrupt("how many?")}
        case "look":
            return {"messages": [ToolMessage("seen", tool_call_id="c")], "answer": "looked"}
    return {"answer": "forty-two"}


replying = (
    StateGraph(Asked, input_schema=MessagesState, output_schema=Reply)
    .add_node("reply", reply)
    .add_edge(START, "reply")
    .compile()
)


class Order(BaseModel):
    dish: str
    plates: int = 1
    served: int = 0


class Bill(BaseModel):
    total: int


async def serve(state: Order) -> dict[str, object]:
    if state.dish == "nothing":
        Bill.model_validate({})
    return {"served": state.served + state.plates}


ordering = StateGraph(Order).add_node("serve", serve).add_edge(START, "serve").compile()
