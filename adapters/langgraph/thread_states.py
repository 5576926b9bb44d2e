"""Committed state as LangGraph's clients read it: through the agent's own graph, which runs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, StateSnapshot

from unbroken.adapters.langgraph.authenticated import configurable_of
from unbroken.adapters.langgraph.graph_schemas import drawing_of, schemas_of
from unbroken.adapters.langgraph.graph_source import DESCRIBES, READS, GraphUse
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.json_values import as_json
from unbroken.adapters.langgraph.reading import CommittedGraphs
from unbroken.adapters.langgraph.run_start import theirs_of
from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.identity import Details
from unbroken.domain.ports.runs import Runs
from unbroken.domain.ports.thread_states import Spot, State, ThreadStates
from unbroken.domain.session import SessionKey

PAGE: Final = 20
"""States that are read at once: a long conversation's are half a megabyte each."""
MOST_BYTES: Final = 32 << 20
"""Of one answer's states as JSON, together."""


class GraphStates(ThreadStates):
    def __init__(self, agents: Agents, checkpoints: Checkpoints, runs: Runs | None = None) -> None:
        """`runs`: see `CommittedGraphs`."""
        self._graphs = CommittedGraphs(agents, checkpoints, runs)

    async def read(self, key: SessionKey, spot: Spot, *, subgraphs: bool = False, user: Details | None = None) -> State:
        async with self._graphs.over(key, READS, user) as graph:
            snapshot = await graph.aget_state(_config(key, spot), subgraphs=subgraphs)
        return _told(snapshot)

    async def history(
        self,
        key: SessionKey,
        *,
        limit: int,
        before: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        checkpoint_ns: str = "",
        user: Details | None = None,
    ) -> Sequence[State]:
        states: list[State] = []
        size = 0
        async with self._graphs.over(key, READS, user) as graph:
            while len(states) < limit:
                page = await self._page(graph, key, min(PAGE, limit - len(states)), before, metadata, checkpoint_ns)
                for snapshot in page:
                    states.append(_told(snapshot))
                    size += len(msgspec.json.encode(states[-1]))
                if size > MOST_BYTES:
                    message = (
                        f"{len(states)} states are {size} bytes long, at most {MOST_BYTES} are told; ask for fewer"
                    )
                    raise InvalidValue("limit", message)
                if len(page) < PAGE:
                    break
                before = page[-1].config["configurable"]["checkpoint_id"]
        return states

    async def schemas(
        self, agent_id: str, *, config: Mapping[str, Any] | None = None, user: Details | None = None
    ) -> dict[str, Any]:
        async with self._described(agent_id, config, user) as graph:
            return await asyncio.to_thread(schemas_of, graph)

    async def drawing(
        self, agent_id: str, *, depth: int, config: Mapping[str, Any] | None = None, user: Details | None = None
    ) -> dict[str, Any]:
        async with self._described(agent_id, config, user) as graph:
            return await drawing_of(graph, depth)

    async def subgraphs(
        self,
        agent_id: str,
        *,
        namespace: str | None,
        recurse: bool,
        config: Mapping[str, Any] | None = None,
        user: Details | None = None,
    ) -> dict[str, dict[str, Any]]:
        async with self._described(agent_id, config, user) as graph:
            found = dict(graph.get_subgraphs(namespace=namespace, recurse=recurse))
            return {name: await asyncio.to_thread(schemas_of, one) for name, one in found.items()}

    async def _page(
        self,
        graph: Graph,
        key: SessionKey,
        limit: int,
        before: str | None,
        metadata: Mapping[str, Any] | None,
        checkpoint_ns: str,
    ) -> list[StateSnapshot]:
        below = _config(key, Spot(before, checkpoint_ns)) if before else None
        config = _config(key, Spot(None, checkpoint_ns))
        kept = dict(metadata) if metadata else None
        found = graph.aget_state_history(config, filter=kept, before=below, limit=limit)
        return [snapshot async for snapshot in found]

    def _described(self, agent_id: str, config: Mapping[str, Any] | None, user: Details | None) -> Any:
        """The graph as the first run of an assistant with this `config` would have it made."""
        ours = {} if user is None else configurable_of(user)
        return self._graphs.opened(agent_id, GraphUse(DESCRIBES, {"configurable": theirs_of(config or {}) | ours}))


def _config(key: SessionKey, spot: Spot) -> RunnableConfig:
    configurable = {"thread_id": key.thread_id, "user_id": key.user_id, "checkpoint_ns": spot.checkpoint_ns}
    if spot.checkpoint_id is not None:
        configurable["checkpoint_id"] = spot.checkpoint_id
    return {"configurable": configurable}


def _told(snapshot: StateSnapshot) -> State:
    checkpoint, parent = _place(snapshot.config), _place(snapshot.parent_config)
    return {
        "values": as_json(snapshot.values),
        "next": list(snapshot.next),
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": None if snapshot.metadata is None else as_json(dict(snapshot.metadata)),
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [_interrupt(interrupt) for interrupt in snapshot.interrupts],
        "checkpoint_id": checkpoint["checkpoint_id"] if checkpoint else None,
        "parent_checkpoint_id": parent["checkpoint_id"] if parent else None,
    }


def _task(task: Any) -> dict[str, Any]:
    within = task.state
    nested = isinstance(within, StateSnapshot)
    return {
        "id": task.id,
        "name": task.name,
        "path": as_json(task.path),
        "error": None if task.error is None else str(task.error),
        "interrupts": [_interrupt(interrupt) for interrupt in task.interrupts],
        "checkpoint": _place(within, whole=False) if within and not nested else None,
        "state": _told(within) if nested else None,
        "result": as_json(task.result),
    }


def _interrupt(interrupt: Interrupt) -> dict[str, Any]:
    return {"id": interrupt.id, "value": as_json(interrupt.value)}


def _place(config: Mapping[str, Any] | None, *, whole: bool = True) -> dict[str, Any] | None:
    """None: there is no such checkpoint. `whole`: a place without a checkpoint's id is none."""
    configurable = (config or {}).get("configurable") or {}
    if not configurable or (whole and not configurable.get("checkpoint_id")):
        return None
    known = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {name: as_json(configurable[name]) for name in known if name in configurable}
