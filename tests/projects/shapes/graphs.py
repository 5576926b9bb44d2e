"""Graphs that are there when they are imported."""

import os

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


def telling(what: str) -> StateGraph:
    """Its answer is `what`, and what it was told."""

    async def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [AIMessage(f"{what}: {state['messages'][-1].content}")]}

    return StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")


builder = telling(os.environ.get("SHAPES_GREETING", "nothing is set"))
graph = telling("compiled").compile()
