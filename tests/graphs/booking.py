"""Calls a tool behind a breakpoint where `book` was said, and leaves a call without its result where `dangle` was."""

from __future__ import annotations

import secrets
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from tests.graphs.scripted import ScriptedModel


async def agent(state: MessagesState) -> dict[str, Any]:
    said = state["messages"][-1]
    if isinstance(said, HumanMessage) and {"book", "dangle"} & set(str(said.text).split()):
        call = {"name": "book", "args": {}, "id": f"call-{secrets.token_hex(4)}"}
        return {"messages": [AIMessage("Booking.", tool_calls=[call])]}
    return {"messages": [await ScriptedModel().ainvoke(state["messages"])]}


async def book(state: MessagesState) -> dict[str, Any]:
    called = state["messages"][-1]
    assert isinstance(called, AIMessage)
    return {"messages": [ToolMessage("booked", tool_call_id=str(called.tool_calls[0]["id"]))]}


def asked_for(state: MessagesState) -> str:
    called = isinstance(last := state["messages"][-1], AIMessage) and last.tool_calls
    return "book" if called and "book" in str(state["messages"][-2].text).split() else END


graph = (
    StateGraph(MessagesState)
    .add_node(agent)
    .add_node(book)
    .add_edge(START, "agent")
    .add_conditional_edges("agent", asked_for, ["book", END])
    .add_edge("book", "agent")
    .compile(interrupt_before=["book"])
)
