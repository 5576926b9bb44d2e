"""What a graph takes and gives, as JSON schemas, and what it looks like."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.json_values import as_json

log = logging.getLogger(__name__)


def schemas_of(graph: Graph) -> dict[str, Any]:
    """A user's types may be such that no schema can be made: null stands for it."""
    context = _or_none("context", graph, graph.get_context_jsonschema)
    return {
        "input_schema": _or_none("input", graph, graph.get_input_jsonschema),
        "output_schema": _or_none("output", graph, graph.get_output_jsonschema),
        "state_schema": _or_none("state", graph, lambda: _state_schema(graph)),
        "config_schema": context or {},
        "context_schema": context,
    }


async def drawing_of(graph: Graph, depth: int) -> dict[str, Any]:
    drawn = (await graph.aget_graph(xray=depth)).to_json()
    nodes = drawn.get("nodes", [])
    for node in nodes:
        data = node.get("data")
        if isinstance(data, dict):
            data.pop("id", None)
    return {"nodes": as_json(nodes), "edges": as_json(drawn.get("edges", []))}


def _state_schema(graph: Graph) -> dict[str, Any] | None:
    builder = getattr(graph, "builder", None)
    if builder is None:
        return graph.get_output_jsonschema()
    schema: dict[str, Any] = TypeAdapter(builder.state_schema).json_schema()
    return schema


def _or_none(what: str, graph: Graph, make: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 (whatever the types of a user's state are made of)
        log.info("no schema can be made of the %s of %s: %s", what, graph.get_name(), error)
        return None
