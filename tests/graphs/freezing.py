"""Blocks the event loop itself, as an agent that calls a blocking library in an async node does."""

from __future__ import annotations

import time
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

FROZEN_S = 60.0


async def freeze(state: MessagesState) -> dict[str, Any]:
    time.sleep(FROZEN_S)  # noqa: ASYNC251 - the very mistake
    return {"messages": []}


graph = StateGraph(MessagesState).add_node(freeze).add_edge(START, "freeze").compile()
