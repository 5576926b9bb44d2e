from __future__ import annotations

from abc import ABC, abstractmethod

from unbroken.domain.ports.identity import Details
from unbroken.domain.session import SessionKey


class CommittedState(ABC):
    """An agent's state as it is stored: reads, none of them part of a turn."""

    @abstractmethod
    async def values(self, key: SessionKey, checkpoint_id: str | None = None, *, user: Details | None = None) -> bytes:
        """The values of the agent's graph as JSON: at a checkpoint of the root, or (None) at the head. `{}`: the thread
        has none, or not that one any more. `user`: who asks, for what makes a graph; None: nobody asked a project's
        `auth`. Raises UnknownAgent, AgentRaised (the user's code made no graph), StoreUnavailable."""

    @abstractmethod
    async def outputs(self, key: SessionKey, *, user: Details | None = None) -> frozenset[str] | None:
        """The names among those values that runs give away; None: all of them. Raises as `values`."""


class NoState(CommittedState):
    """Of agents that keep none."""

    async def values(self, key: SessionKey, checkpoint_id: str | None = None, *, user: Details | None = None) -> bytes:
        return b"{}"

    async def outputs(self, key: SessionKey, *, user: Details | None = None) -> frozenset[str] | None:
        return None
