"""Agents' graphs over what is committed of a thread: they are read, and nothing runs but what makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langgraph_sdk.runtime import AccessContext

from unbroken.adapters.langgraph.containment import agent_code
from unbroken.adapters.langgraph.failures import agent_raised
from unbroken.adapters.langgraph.graph_source import GraphSource, GraphUse
from unbroken.adapters.langgraph.history import Graph, kept_by
from unbroken.adapters.langgraph.run_start import config_for
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.domain.errors import InvalidValue, UnbrokenError, UnknownAgent
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.identity import Details
from unbroken.domain.ports.runs import Runs
from unbroken.domain.session import SessionKey


class CommittedGraphs:
    def __init__(self, agents: Agents, checkpoints: Checkpoints, runs: Runs | None = None) -> None:
        """`runs`: where it is found out by what config a thread's graph is made; None: by that of a message."""
        self._agents = agents
        self._checkpoints = checkpoints
        self._runs = runs

    def source(self, agent_id: str) -> GraphSource | None:
        """None: the agent has no graph. Raises UnknownAgent."""
        source = getattr(self._agents.get(agent_id), "source", None)
        return source if isinstance(source, GraphSource) else None

    @asynccontextmanager
    async def over(self, key: SessionKey, access: AccessContext, user: Details | None) -> AsyncIterator[Graph]:
        """The agent's graph over the thread's committed state, made as for the thread's last run. What it would write
        stays in a saver that is dropped. Raises as `opened`, StoreUnavailable."""
        source = self.source(key.agent_id)
        made = source is not None and source.fixed is None
        shape = await self._runs.latest_start(key.thread_id) if made and self._runs is not None else None
        async with self.opened(key.agent_id, GraphUse(access, config_for(key, user, shape))) as graph:
            yield kept_by(graph, StagingSaver(self._checkpoints, key.thread_id, head=None))

    @asynccontextmanager
    async def opened(self, agent_id: str, use: GraphUse) -> AsyncIterator[Graph]:
        """Raises UnknownAgent, AgentRaised (the user's code made no graph), InvalidValue: no such subgraph."""
        source = self.source(agent_id)
        if source is None:
            raise UnknownAgent(agent_id)
        task = asyncio.current_task()
        try:
            with agent_code():
                async with source.open(use) as graph:
                    yield graph
        except (UnbrokenError, asyncio.CancelledError):
            raise
        except BaseException as error:
            if asyncio.current_task() is not task or not isinstance(error, Exception):
                raise
            raise _unreadable(error) from error


def _unreadable(error: Exception) -> UnbrokenError:
    """LangGraph says by a ValueError that there is no such subgraph."""
    if isinstance(error, ValueError) and "ubgraph" in str(error):
        return InvalidValue("checkpoint_ns", str(error))
    return agent_raised(error)
