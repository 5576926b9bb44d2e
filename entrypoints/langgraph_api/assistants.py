"""Which graph an assistant's id or name stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from unbroken.domain.catalogue import matches
from unbroken.domain.errors import UnknownAssistant
from unbroken.entrypoints.langgraph_api.answers import invalid
from unbroken.entrypoints.langgraph_api.graph_ids import assistant_id_of, graph_named
from unbroken.entrypoints.langgraph_api.permissions import ON_ASSISTANTS

if TYPE_CHECKING:
    from unbroken.entrypoints.langgraph_api.access import Access


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


async def served(access: Access, named: str) -> Served:
    """By a graph's name, the id of its own assistant, or the id of one that the user has created. Raises Problem (also
    for one that the project's rules do not show), StoreUnavailable."""
    agents = access.service.agents
    graph_id = graph_named(agents, named)
    if graph_id is not None:
        return Served(assistant_id_of(graph_id), graph_id)
    try:
        where = await access.allowed(ON_ASSISTANTS, "read", {"assistant_id": named, "metadata": {}})
        preset = (await access.service.assistants.get(access.user.id, named)).preset
        if not matches(preset.metadata, where):
            raise UnknownAssistant(named)
    except UnknownAssistant:
        known = ", ".join(agents.names())
        message = f"Invalid assistant: {named!r}. It is neither an assistant's id nor one of the graphs: {known}"
        raise invalid(message) from None
    return Served(named, preset.graph_id, preset.config, preset.context, preset.metadata)
