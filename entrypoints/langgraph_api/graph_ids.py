"""The assistant that each graph is by itself."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from unbroken.domain.catalogue import Metadata, Where
from unbroken.domain.ports.agent import Agents

GRAPHS: Final = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""The namespace in which LangGraph's servers derive the ids of assistants that nobody has created."""


def assistant_id_of(graph_id: str) -> str:
    return str(uuid5(GRAPHS, graph_id))


def graph_named(agents: Agents, named: str) -> str | None:
    """By a graph's name, or the id of its own assistant. None: neither."""
    return next((graph for graph in agents.names() if named in (graph, assistant_id_of(graph))), None)


def by_graph(agents: Agents, where: Where) -> Where:
    """And threads whose graph has this assistant as its own: of those, the graph alone is stored."""
    translated = tuple(tuple(_by_graph(agents, pattern) for pattern in patterns) for patterns in where)
    return where if translated == where else where + translated


def _by_graph(agents: Agents, pattern: Metadata) -> Metadata:
    named = pattern.get("assistant_id")
    graph_id = graph_named(agents, named) if isinstance(named, str) else None
    if graph_id is None:
        return pattern
    return {name: value for name, value in pattern.items() if name != "assistant_id"} | {"graph_id": graph_id}
