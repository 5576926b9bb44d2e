"""The values of a graph's state as its thread has committed them, for clients that read states and not messages."""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig

from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.authenticated import whose
from unbroken.adapters.langgraph.graph_source import UPDATES, GraphUse
from unbroken.adapters.langgraph.history import Graph, kept_by
from unbroken.adapters.langgraph.json_values import json_of
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.committed_state import CommittedState
from unbroken.domain.ports.identity import Details
from unbroken.domain.session import SessionKey


class CommittedValues(CommittedState):
    def __init__(self, agents: Agents, checkpoints: Checkpoints) -> None:
        self._agents = agents
        self._checkpoints = checkpoints
        self._outputs: dict[str, frozenset[str] | None] = {}
        """By agent: every graph that one source makes has the same."""

    async def values(self, key: SessionKey, checkpoint_id: str | None = None, *, user: Details | None = None) -> bytes:
        agent = self._agents.get(key.agent_id)
        if not isinstance(agent, LangGraphAgent):
            return b"{}"
        configurable = whose(key, user)
        at = {**configurable, "checkpoint_ns": "", **({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}
        async with agent.source.open(GraphUse(UPDATES, {"configurable": configurable})) as graph:
            saver = StagingSaver(self._checkpoints, key.thread_id, head=None)
            config: RunnableConfig = {"configurable": at}
            return json_of((await kept_by(graph, saver).aget_state(config)).values)

    async def outputs(self, key: SessionKey, *, user: Details | None = None) -> frozenset[str] | None:
        if key.agent_id not in self._outputs:
            agent = self._agents.get(key.agent_id)
            if not isinstance(agent, LangGraphAgent):
                return None
            async with agent.source.open(GraphUse(UPDATES, {"configurable": whose(key, user)})) as graph:
                self._outputs[key.agent_id] = _outputs_of(graph)
        return self._outputs[key.agent_id]


def _outputs_of(graph: Graph) -> frozenset[str] | None:
    """A function's output is one value, which is not divided."""
    if isinstance(graph.output_channels, str) or set(graph.output_channels) >= set(graph.stream_channels_list):
        return None
    return frozenset(graph.output_channels)
