"""A graph of a project whose packages are called as ours are."""

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

import adapters
import application
import domain
import entrypoints

NAMES = [layer.NAME for layer in (domain, application, adapters, entrypoints)]


async def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
    return {"messages": [AIMessage(", ".join(NAMES))]}


graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
