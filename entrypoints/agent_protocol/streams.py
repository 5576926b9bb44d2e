"""The protocol's connections of one process: how each ends that does not end by itself."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any, Final

from litestar.connection import ASGIConnection

from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.agent_protocol.commands import Commands, Subscribing
from unbroken.entrypoints.agent_protocol.feed import Feed
from unbroken.entrypoints.langgraph_api.access import Access
from unbroken.entrypoints.langgraph_api.permissions import Permissions, anything
from unbroken.entrypoints.langgraph_api.ruled import ask_again_forever, look_again
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.pace import Pace
from unbroken.entrypoints.web.rest import Problem
from unbroken.entrypoints.web.user_limits import Allowance, TooManySockets, UserLimits

RESTARTING: Final = "the server is stopping; what was said is kept"
LONGEST_S: Final = 365 * 86_400.0
"""Nobody stays connected for longer; a timer for the end of time would be none."""


class Stream(ABC):
    """An open connection."""

    sending_since: float | None = None
    """Monotonic time at which the write under way began; None: nothing waits for the reader's bytes."""

    @abstractmethod
    def stop(self, reason: Closed) -> None:
        """End it from outside."""


class Streams:
    def __init__(self, service: Service, limits: UserLimits, permissions: Permissions) -> None:
        self.service = service
        self._permissions = permissions
        self._limits = limits
        self.pace = Pace()
        self._open: dict[Stream, None] = {}

    @contextmanager
    def opened(
        self, stream: Stream, user: User, connection: ASGIConnection[Any, Any, Any, Any], thread_id: str
    ) -> Iterator[None]:
        """Raises Closed: the user has too many, or the server stops."""
        if self.service.stopping:
            raise Closed(CloseCode.RESTARTING, RESTARTING)
        try:
            self._limits.opened(user.id)
        except TooManySockets as error:
            raise Closed(CloseCode.TOO_MANY, str(error)) from error
        self._open[stream] = None
        expiry = None
        if user.until < inf:
            left_s = min(max(0.0, user.until - time.time()), LONGEST_S)
            expired = Closed(CloseCode.NOT_AUTHENTICATED, "the token has expired")
            expiry = asyncio.get_running_loop().call_later(left_s, stream.stop, expired)
        asking = None
        if self._permissions is not anything:
            look = partial(look_again, connection, user, thread_id)
            asking = asyncio.create_task(ask_again_forever(look, stream.stop, self.service.settings.ask_again_s))
        try:
            yield
        finally:
            if asking is not None:
                asking.cancel()
            if expiry is not None:
                expiry.cancel()
            del self._open[stream]
            self._limits.closed(user.id)

    def send_away(self) -> None:
        """End every stream, so that its client comes again; whoever comes now is told the same."""
        for stream in list(self._open):
            stream.stop(Closed(CloseCode.RESTARTING, RESTARTING))

    async def close_stalled_forever(self) -> None:
        """End the streams whose readers take nothing."""
        limit_s = self.service.settings.reader_stall_s
        while True:
            await asyncio.sleep(min(1.0, limit_s / 4))
            self._close_stalled(limit_s)

    def _close_stalled(self, limit_s: float) -> None:
        now = asyncio.get_running_loop().time()
        for stream in list(self._open):
            if stream.sending_since is not None and now - stream.sending_since > limit_s:
                stream.stop(Closed(CloseCode.OVERLOADED, f"nothing was read for {limit_s:g} s"))

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

        return Feed(self.service, key, lambda: time.time_ns() // 1_000_000)
