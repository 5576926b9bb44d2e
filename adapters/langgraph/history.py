"""A thread's messages between two runs of its graph: how to bring it to rest, and what models need to accept them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.constants import END, START
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel._read import PregelNode

from unbroken.adapters.langgraph.effects import effect_channels
from unbroken.adapters.langgraph.inputs import resets
from unbroken.adapters.langgraph.messages import messages_in, unanswered_tool_calls
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.events import RunStart, StateUpdate, UserMessage
from unbroken.domain.session import Claim
from unbroken.domain.turn import Fork

Graph = CompiledStateGraph[Any, Any, Any, Any]

WRITER = "unbroken:history"
"""A node that only writes. Writing as a real one would ask what follows it, about a history that it never made."""

CHECKPOINTER = "__pregel_checkpointer"
"""LangGraph's name for what a parent hands to its subgraphs."""

MOST_CLEARINGS = 8


def kept_by(graph: Graph, saver: BaseCheckpointSaver[str]) -> Graph:
    """The same graph, with its state kept by `saver`. Shallow: LangGraph's own `copy` checks every node and channel
    anew, for each turn."""
    same = copy(graph)
    same.checkpointer = saver
    return same


def place_before(claim: Claim, fork: Fork | None) -> str | None:
    """The root checkpoint that the claimed event goes on from, in the notation of `Claim.head`. None: nobody knows any
    more, but the event's own messages tell where it begins.

    The base of a session is no answer once a superstep was committed on a branch: it is where the branch was left.
    """
    body = claim.event.body
    if fork is not None:
        return dict(fork.heads)[ROOT]
    if not claim.resumes:
        return claim.head
    if isinstance(body, RunStart | StateUpdate) and body.checkpoint_id:
        return body.checkpoint_id
    replaces = isinstance(body, UserMessage) and body.replaces is not None
    return None if replaces else claim.base_head


def until(messages: Sequence[BaseMessage], own: frozenset[str]) -> dict[str, None]:
    """Ids of the messages before the event's own, in their order; of all, if none of those is among them."""
    ids = [str(message.id) for message in messages]
    first = next((index for index, id_ in enumerate(ids) if id_ in own), len(ids))
    return dict.fromkeys(ids[:first])


class History:
    """`graph` brings the saver that everything is staged by."""

    def __init__(self, graph: Graph, config: RunnableConfig) -> None:
        # A node's first writer takes what the node returns; the others are its edges.
        starts = graph.nodes[START].writers[:1] if START in graph.nodes else []
        writer = PregelNode(channels=[], triggers=[], writers=list(starts))
        self._graph: Graph = copy(graph)
        self._graph.nodes = {**graph.nodes, WRITER: writer}
        self._config: RunnableConfig = {"configurable": config["configurable"]}
        self._resets = resets(effect_channels(graph.channels))

    def _inside(self, checkpoint_ns: str, graph: Graph) -> History:
        """Of a subgraph, which then believes that its parent calls it."""
        inherited = {CHECKPOINTER: self._graph.checkpointer, "checkpoint_ns": checkpoint_ns}
        return History(graph, {"configurable": {**self._config["configurable"], **inherited}})

    async def messages(self, checkpoint_id: str | None = None) -> Sequence[BaseMessage]:
        """Now, or at a checkpoint."""
        configurable = {**self._config["configurable"]}
        if checkpoint_id is not None:
            configurable["checkpoint_id"] = checkpoint_id
        return messages_in((await self._graph.aget_state({"configurable": configurable})).values)

    async def rest(self) -> None:
        """Nothing is pending any more: what finished beside an unfinished task counts, the others are given up."""
        for _ in range(MOST_CLEARINGS):
            if not (await self._graph.aget_state(self._config)).next:
                return
            await self._graph.aupdate_state(self._config, None, as_node=END)
        raise RuntimeError("the graph does not come to rest")

    async def append(self, messages: Sequence[BaseMessage]) -> None:
        """To a thread at rest, which it stays. A state without messages keeps none."""
        if messages and "messages" in self._graph.channels:
            await self._graph.aupdate_state(self._config, {"messages": [*messages], **self._resets}, as_node=WRITER)

    async def close_calls(self, reason: str) -> None:
        """At rest, and every tool call has a result; likewise in subgraphs that remember their calls."""
        for checkpoint_ns, graph in self._graph.get_subgraphs(recurse=True):
            if isinstance(graph, CompiledStateGraph) and graph.checkpointer is True:
                await self._inside(checkpoint_ns, graph).close_calls(reason)
        await self.rest()
        await self.append(unanswered_tool_calls(await self.messages(), reason))
