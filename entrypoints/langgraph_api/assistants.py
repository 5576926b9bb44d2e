"""Which graph an assistant's id or name stands for."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from unbroken.domain.errors import UnknownAssistant
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.assistants import Assistants
from unbroken.entrypoints.langgraph_api.answers import invalid
from unbroken.entrypoints.langgraph_api.graph_ids import assistant_id_of, graph_named


class Served(Struct, frozen=True):
    """A graph, with what its runs begin with."""

    assistant_id: str
    graph_id: str
    config: dict[str, Any] = {}
    context: Any = None
    metadata: dict[str, Any] = {}

    @property
    def own(self) -> bool:
        """The graph's, and nobody's making."""
        return self.assistant_id == assistant_id_of(self.graph_id)


async def served(agents: Agents, assistants: Assistants, user_id: str, named: str) -> Served:
    """By a graph's name, the id of its own assistant, or the id of one that the user has created. Raises Problem,
    StoreUnavailable."""
    graph_id = graph_named(agents, named)
    if graph_id is not None:
        return Served(assistant_id_of(graph_id), graph_id)
    try:
        preset = (await assistants.get(user_id, named)).preset
    except UnknownAssistant:
        known = ", ".join(agents.names())
        message = f"Invalid assistant: {named!r}. It is neither an assistant's id nor one of the graphs: {known}"
        raise invalid(message) from None
    return Served(named, preset.graph_id, preset.config, preset.context, preset.metadata)
