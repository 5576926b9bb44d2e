"""What the protocol's connections of one process share."""

from __future__ import annotations

import time

from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.agent_protocol.commands import Commands, Subscribing
from unbroken.entrypoints.agent_protocol.feed import Feed
from unbroken.entrypoints.langgraph_api.access import Access
from unbroken.entrypoints.langgraph_api.permissions import Permissions
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.open_connections import OpenConnections
from unbroken.entrypoints.web.pace import Pace
from unbroken.entrypoints.web.rest import Problem
from unbroken.entrypoints.web.user_limits import Allowance, TooManySockets, UserLimits


class Streams:
    def __init__(
        self, service: Service, limits: UserLimits, permissions: Permissions, connections: OpenConnections
    ) -> None:
        self.service = service
        self.connections = connections
        self.pace = Pace()
        self._permissions = permissions
        self._limits = limits

    def admitted(self, user: User) -> None:
        """One more connection; `left` must follow. Raises Closed: the user has too many, or the server stops."""
        self.connections.refuse_if_stopping()
        try:
            self._limits.opened(user.id)
        except TooManySockets as error:
            raise Closed(CloseCode.TOO_MANY, str(error)) from error

    def left(self, user: User) -> None:
        self._limits.closed(user.id)

    def commands(self, user: User, thread_id: str, subscribing: Subscribing | None = None) -> Commands:
        return Commands(
            self.access(user),
            thread_id,
            allowance=lambda key: Allowance(self._limits, self.service.threads, key),
            subscribing=subscribing,
        )

    def access(self, user: User) -> Access:
        return Access(user, self.service, self._permissions)

    def feed(self, user: User, thread_id: str) -> Feed:
        async def key() -> SessionKey | None:
            try:
                agent_id = (await self.access(user).thread(thread_id)).agent_id
            except (NotYourThread, ThreadDeleted, Problem):
                return None
            return None if agent_id is None else SessionKey(user.id, agent_id, thread_id)

        return Feed(self.service, key, lambda: time.time_ns() // 1_000_000, self.access(user).known)
