"""The values of a graph's state as its thread has committed them, for clients that read states and not messages."""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig

from unbroken.adapters.langgraph.graph_source import UPDATES
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.json_values import json_of
from unbroken.adapters.langgraph.reading import CommittedGraphs
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.committed_state import CommittedState
from unbroken.domain.ports.identity import Details
from unbroken.domain.ports.runs import Runs
from unbroken.domain.session import SessionKey


class CommittedValues(CommittedState):
    def __init__(self, agents: Agents, checkpoints: Checkpoints, runs: Runs | None = None) -> None:
        self._graphs = CommittedGraphs(agents, checkpoints, runs)
        self._outputs: dict[str, frozenset[str] | None] = {}
        """By agent: every graph that one source makes has the same."""

    async def values(self, key: SessionKey, checkpoint_id: str | None = None, *, user: Details | None = None) -> bytes:
        if self._graphs.source(key.agent_id) is None:
            return b"{}"
        at = {"thread_id": key.thread_id, "checkpoint_ns": ""}
        config: RunnableConfig = {"configurable": at | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}
        async with self._graphs.over(key, UPDATES, user) as graph:
            return json_of((await graph.aget_state(config)).values)

    async def outputs(self, key: SessionKey, *, user: Details | None = None) -> frozenset[str] | None:
        if key.agent_id not in self._outputs:
            if self._graphs.source(key.agent_id) is None:
                return None
            async with self._graphs.over(key, UPDATES, user) as graph:
                self._outputs[key.agent_id] = _outputs_of(graph)
        return self._outputs[key.agent_id]


def _outputs_of(graph: Graph) -> frozenset[str] | None:
    """A function's output is one value, which is not divided."""
    if isinstance(graph.output_channels, str) or set(graph.output_channels) >= set(graph.stream_channels_list):
        return None
    return frozenset(graph.output_channels)
