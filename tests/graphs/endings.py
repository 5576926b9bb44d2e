"""speak → what the message asks for → conclude; every way in which a turn can end otherwise than by an answer.

`ask=2` asks two questions at once, `deaf=1.5` ignores its cancellation for so many seconds, `call=1.5` does so within
two tool calls, `block=1.5` blocks a thread, `late=3` fails while it concludes.
"""

from __future__ import annotations

import asyncio
import operator
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send, interrupt

from tests.graphs.scripted import ScriptedModel, said
from tests.graphs.speech import option

BLOCKED = "a thread is blocked"
"""Said once it is: what the process is told from then on finds it so."""


class State(MessagesState):
    notes: Annotated[list[str], operator.add]


class Asking(TypedDict):
    number: int


async def speak(state: State) -> dict[str, Any]:
    return {"messages": [await ScriptedModel().ainvoke(state["messages"])]}


def asked_for(state: State) -> Sequence[Send | str]:
    told = said(state["messages"])
    questions = int(option(told, "ask", 0))
    if questions:
        return [Send("ask", Asking(number=number)) for number in range(1, questions + 1)]
    nodes = {"deaf": "hold", "call": "call", "block": "block"}
    return [next((node for name, node in nodes.items() if option(told, name, 0)), "conclude")]


async def ask(state: Asking) -> dict[str, Any]:
    answer = interrupt({"question": f"number {state['number']}?"})
    return {"notes": [f"{state['number']}: {answer}"]}


async def hold(state: State) -> dict[str, Any]:
    await deaf_for(option(said(state["messages"]), "deaf", 0))
    return {}


async def call(state: State) -> dict[str, Any]:
    calls = [{"name": "weigh", "args": {"grams": grams}, "id": f"call-{secrets.token_hex(4)}"} for grams in (1, 2)]
    return {"messages": [AIMessage(content="", tool_calls=calls)]}


async def weigh(state: State) -> dict[str, Any]:
    await deaf_for(option(said(state["messages"]), "call", 0))
    called = state["messages"][-1]
    assert isinstance(called, AIMessage)
    return {"messages": [ToolMessage("heavy", tool_call_id=str(one["id"])) for one in called.tool_calls]}


async def deaf_for(seconds: float) -> None:
    """Swallows every cancellation."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(until - loop.time())


def block(state: State) -> dict[str, Any]:
    sys.stderr.write(f"{BLOCKED}\n")
    time.sleep(option(said(state["messages"]), "block", 0))
    return {}


async def conclude(state: State) -> dict[str, Any]:
    noted = [AIMessage(content="noted " + ", ".join(sorted(state["notes"])))] if state["notes"] else []
    return {"messages": [*noted, await ScriptedModel(fails_by="late").ainvoke([*state["messages"], *noted])]}


graph = (
    StateGraph(State)
    .add_node(speak)
    .add_node(ask)
    .add_node(hold)
    .add_node(call)
    .add_node(weigh)
    .add_node(block)
    .add_node(conclude)
    .add_edge(START, "speak")
    .add_conditional_edges("speak", asked_for, ["ask", "hold", "call", "block", "conclude"])
    .add_edge("ask", "conclude")
    .add_edge("hold", "conclude")
    .add_edge("call", "weigh")
    .add_edge("weigh", "conclude")
    .add_edge("block", "conclude")
    .compile()
)
