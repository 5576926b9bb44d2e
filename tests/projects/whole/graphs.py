"""Notes what it is told, and finds by meaning what was noted before, in whatever thread."""

import os
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


async def note(state: MessagesState, runtime: Runtime[None]) -> dict[str, Any]:
    said = str(state["messages"][-1].content)
    store = runtime.store
    assert store is not None
    if said == "env":
        return {"messages": [AIMessage(os.environ["WHOLE_GREETING"])]}
    found = await store.asearch(("notes",), query=said, limit=1)
    await store.aput(("notes",), said, {"text": said})
    return {"messages": [AIMessage(f"nearest: {found[0].key}" if found else "nothing yet")]}


class Wish(TypedDict):
    topic: str


async def grant(state: Wish) -> Wish:
    return {"topic": state["topic"].upper()}


graph = StateGraph(MessagesState).add_node("note", note).add_edge(START, "note").compile()
wishing = StateGraph(Wish).add_node("grant", grant).add_edge(START, "grant").compile()
