from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from unbroken.domain.ports.identity import Details
from unbroken.domain.session import SessionKey

State = dict[str, Any]
"""One state of a thread as LangGraph's clients read it, plain JSON: `values, next, tasks, metadata, created_at,
checkpoint, parent_checkpoint, interrupts`."""


class Spot(Struct, frozen=True):
    """A place in a thread's history."""

    checkpoint_id: str | None = None
    """None: the head."""
    checkpoint_ns: str = ""
    """Of a subgraph, with the ids of its tasks; "": the root."""


class ThreadStates(ABC):
    """What agents' graphs make of committed state. Reads alone: nothing runs but what makes a graph, and nothing is
    written. What makes a graph is given who asks, as `user` (None: nobody asked a project's `auth`), and the config of
    the thread's last run, or the assistant's, as `config`.

    All raise UnknownAgent, AgentRaised (the user's code made no graph), StoreUnavailable.
    """

    @abstractmethod
    async def read(self, key: SessionKey, spot: Spot, *, subgraphs: bool = False, user: Details | None = None) -> State:
        """A thread without such a checkpoint: no values, and no `created_at`. `subgraphs`: tasks that are subgraphs
        bring their own states. Raises InvalidValue: no such subgraph."""

    @abstractmethod
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
        """Newest first, below checkpoint `before`; of every branch. `metadata`: those whose metadata contain all of
        its pairs. Raises InvalidValue: no such subgraph, or the states are too long together."""

    @abstractmethod
    async def schemas(
        self, agent_id: str, *, config: Mapping[str, Any] | None = None, user: Details | None = None
    ) -> dict[str, Any]:
        """JSON schemas of the graph: `input_schema, output_schema, state_schema, config_schema, context_schema`; null
        for what has none."""

    @abstractmethod
    async def drawing(
        self, agent_id: str, *, depth: int, config: Mapping[str, Any] | None = None, user: Details | None = None
    ) -> dict[str, Any]:
        """`nodes` and `edges`; subgraphs are drawn in the place of their nodes, down to `depth`."""

    @abstractmethod
    async def subgraphs(
        self,
        agent_id: str,
        *,
        namespace: str | None,
        recurse: bool,
        config: Mapping[str, Any] | None = None,
        user: Details | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Namespace → schemas. `namespace`: only that one."""
