"""The nodes of a graph as they run: LangGraph tells of them to whoever listens where a run is configured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook
from langgraph.errors import GraphBubbleUp
from opentelemetry.trace import Span, SpanKind, set_span_in_context

from unbroken.adapters.telemetry import names
from unbroken.adapters.telemetry.telemetry import Telemetry, failed, word


class Nodes(BaseCallbackHandler):
    """One span a node, with the superstep it runs in; those of subgraphs as well."""

    run_inline = True  # in the task that runs the node: a thread for each of these calls would cost more than they do
    ignore_llm = True
    ignore_chat_model = True
    ignore_agent = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self, telemetry: Telemetry, parent: Span) -> None:
        self._telemetry = telemetry
        self._context = set_span_in_context(parent)
        self._running: dict[UUID, Span] = {}

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        node = (metadata or {}).get("langgraph_node")
        if node is None or kwargs.get("name") != node:
            return
        attributes: names.Attributes = {
            "langgraph.node": node,
            "langgraph.step": (metadata or {}).get("langgraph_step", -1),
        }
        self._running[run_id] = self._telemetry.begin(
            f"node {node}", SpanKind.INTERNAL, attributes, context=self._context
        )

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        if span := self._running.pop(run_id, None):
            span.end()

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if span := self._running.pop(run_id, None):
            if isinstance(error, GraphBubbleUp):
                span.set_attribute(names.OUTCOME, "asked")
            else:
                failed(span, word(error))
            span.end()

    def close(self) -> None:
        """Nodes that were called off are told of by nobody."""
        for span in self._running.values():
            failed(span, "called_off")
            span.end()
        self._running.clear()


_listening: ContextVar[Nodes | None] = ContextVar("unbroken_nodes", default=None)
register_configure_hook(_listening, inheritable=True)


@contextmanager
def telling_of_nodes(telemetry: Telemetry, parent: Span) -> Iterator[None]:
    """A span for each node that runs inside the block, if `parent` is one that is exported."""
    if not parent.is_recording():
        yield
        return
    nodes = Nodes(telemetry, parent)
    token = _listening.set(nodes)
    try:
        yield
    finally:
        _listening.reset(token)
        nodes.close()
