"""Blocks the event loop itself, as an agent that calls a blocking library in an async node does."""

from __future__ import annotations

import sys
import time
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

FROZEN_S = 60.0
FROZEN = "the event loop is frozen"
"""Said once it is: what the process is told from then on finds it so."""


async def freeze(state: MessagesState) -> dict[str, Any]:
    sys.stderr.write(f"{FROZEN}\n")
    time.sleep(FROZEN_S)  # noqa: ASYNC251 - the very mistake
    return {"messages": []}


graph = StateGraph(MessagesState).add_node(freeze).add_edge(START, "freeze").compile()
