"""gather → weigh → write, which `late=3` makes fail; executions go to the file that UNBROKEN_TEST_NODE_LOG names."""

from __future__ import annotations

import asyncio
import json
import operator
import os
import secrets
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from tests.graphs.scripted import ScriptedModel, said
from tests.graphs.speech import option


class State(MessagesState):
    notes: Annotated[list[str], operator.add]
    """One a message: a doubled superstep would leave two."""


async def gather(state: State) -> dict[str, Any]:
    log_execution("gather", state)
    return {"messages": [await ScriptedModel().ainvoke(state["messages"])]}


async def weigh(state: State) -> dict[str, Any]:
    """Says nothing: between two texts of one answer a node may only think."""
    log_execution("weigh", state)
    await asyncio.sleep(5 * option(said(state["messages"]), "pause", 0.0))
    return {"notes": [secrets.token_hex(4)]}


async def write(state: State) -> dict[str, Any]:
    log_execution("write", state)
    asked = sum(isinstance(message, HumanMessage) for message in state["messages"])
    assert len(state["notes"]) == asked, f"{len(state['notes'])} notes after {asked} messages"
    return {"messages": [await ScriptedModel(fails_by="late").ainvoke(state["messages"])]}


def log_execution(node: str, state: State) -> None:
    """One line in one write: it is complete, or absent, whenever the process dies."""
    event = next(message for message in reversed(state["messages"]) if isinstance(message, HumanMessage))
    line = json.dumps({"node": node, "event": event.id, "pid": os.getpid()}) + "\n"
    if path := os.environ.get("UNBROKEN_TEST_NODE_LOG"):
        with Path(path).open("a", encoding="utf-8") as log:
            log.write(line)


graph = (
    StateGraph(State)
    .add_node(gather)
    .add_node(weigh)
    .add_node(write)
    .add_edge(START, "gather")
    .add_edge("gather", "weigh")
    .add_edge("weigh", "write")
    .compile()
)
