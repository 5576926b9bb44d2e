"""The values of a graph's state as its thread has committed them, for clients that read states and not messages."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, Send

from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.graph_source import UPDATES, GraphUse
from unbroken.adapters.langgraph.history import kept_by
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.committed_state import CommittedState
from unbroken.domain.session import SessionKey


class CommittedValues(CommittedState):
    def __init__(self, agents: Agents, checkpoints: Checkpoints) -> None:
        self._agents = agents
        self._checkpoints = checkpoints

    async def values(self, key: SessionKey, checkpoint_id: str | None = None) -> bytes:
        agent = self._agents.get(key.agent_id)
        if not isinstance(agent, LangGraphAgent):
            return b"{}"
        configurable = {"thread_id": key.thread_id, "user_id": key.user_id}
        at = {**configurable, "checkpoint_ns": "", **({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}
        async with agent.source.open(GraphUse(UPDATES, {"configurable": configurable})) as graph:
            saver = StagingSaver(self._checkpoints, key.thread_id, head=None)
            config: RunnableConfig = {"configurable": at}
            return as_json((await kept_by(graph, saver).aget_state(config)).values)


def as_json(value: Any) -> bytes:
    """As LangGraph's servers write it: messages and other models as their fields; what has none as its text."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except (TypeError, ValueError, UnicodeEncodeError):  # a key that is no text, or half a surrogate pair
        return json.dumps(value, default=_plain, skipkeys=True).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Interrupt):
        return {"value": value.value, "id": value.id}
    if isinstance(value, Send):
        return {"node": value.node, "args": value.arg}
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
