"""The chat sockets of one process: each from its query to its end."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import Any, Final

from litestar import WebSocket

from unbroken.application.subscribe import TAIL_CURSOR, Shown
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted, Unavailable, UnknownAgent
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.langgraph_api.ruled import ChatRules, ask_again_forever
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.connection import Closed, Connection, stalled
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.pace import Pace
from unbroken.entrypoints.web.query import BadQuery, Hello, parse_query
from unbroken.entrypoints.web.user_limits import Allowance, TooManySockets, UserLimits

RESTARTING: Final = "the server is stopping; what was said is kept"
NO_STORE: Final = "the store does not answer; reconnect with backoff"
LONGEST_S: Final = 365 * 86_400.0
"""Nobody stays connected for longer; a timer for the end of time would be none."""


class ChatSockets:
    def __init__(self, service: Service, limits: UserLimits) -> None:
        self._service = service
        self._limits = limits
        self._pace = Pace()
        self._connections: dict[Connection, None] = {}
        """In the order in which they came."""

    async def converse(self, socket: WebSocket[Any, Any, Any], user: User, rules: ChatRules | None = None) -> None:
        """Until the client leaves. `rules`: asked about whatever is said, and again and again whether the chat may go
        on. Raises Closed: the server ends the connection, with this code."""
        self._refuse_if_stopping()
        try:
            self._limits.opened(user.id)
            try:
                await self._follow(socket, user, rules)
            finally:
                self._limits.closed(user.id)
        except TooManySockets as error:
            raise Closed(CloseCode.TOO_MANY, str(error)) from error
        except (NotYourThread, ThreadDeleted) as error:
            raise Closed(CloseCode.NOT_YOUR_THREAD, str(error)) from error
        except Unavailable as error:
            raise Closed(CloseCode.OVERLOADED, NO_STORE) from error

    def send_away(self) -> None:
        """Close every socket with 1012; whoever comes now is told the same once the service stops."""
        for connection in list(self._connections):
            connection.stop(Closed(CloseCode.RESTARTING, RESTARTING))

    async def close_stalled_forever(self) -> None:
        """End the connections whose readers take nothing."""
        limit_s = self._service.settings.reader_stall_s
        while True:
            await asyncio.sleep(min(1.0, limit_s / 4))
            self._close_stalled(limit_s)

    def _close_stalled(self, limit_s: float) -> None:
        """Apart from the loop, whose variables would keep the last such connection and its session for ever."""
        for connection in stalled(self._connections, asyncio.get_running_loop().time(), limit_s):
            connection.stop(Closed(CloseCode.OVERLOADED, f"nothing was read for {limit_s:g} s"))

    async def _follow(self, socket: WebSocket[Any, Any, Any], user: User, rules: ChatRules | None) -> None:
        key, hello = self._hello(socket, user.id)
        service = self._service
        shown = Shown(hello.request_id, hello.attempt, hello.offset) if hello.request_id else None
        cursor = TAIL_CURSOR if hello.cursor == "tail" else hello.cursor
        subscription = await service.subscribe(key, cursor=cursor, shown=shown)
        connection = Connection(
            socket,
            key,
            subscription,
            accept=service.accept,
            cancel=service.cancel,
            acknowledge=service.acknowledge,
            limits=service.settings.frame_limits,
            frames_per_s=service.settings.frames_per_s,
            allowance=Allowance(self._limits, service.threads, key),
            pace=self._pace,
            legacy=hello.legacy,
            admit=None if rules is None else rules.admit,
        )
        left_s = min(max(0.0, user.until - time.time()), LONGEST_S)
        expiry = asyncio.get_running_loop().call_later(left_s, _expire, connection) if user.until < inf else None
        asking = None
        if rules is not None:
            every_s = service.settings.ask_again_s
            asking = asyncio.create_task(ask_again_forever(rules.look_again, connection.stop, every_s))
        self._connections[connection] = None
        try:
            self._refuse_if_stopping()
            if isinstance(hello.cursor, int):
                connection.presented(hello.cursor)
            await connection.run()
        finally:
            if expiry is not None:
                expiry.cancel()
            if asking is not None:
                asking.cancel()
            del self._connections[connection]
            subscription.close()

    def _hello(self, socket: WebSocket[Any, Any, Any], user_id: str) -> tuple[SessionKey, Hello]:
        agents = self._service.agents
        try:
            hello = parse_query(socket.scope["query_string"])
            agent_id = hello.agent_id or agents.names()[0]
            agents.get(agent_id)
            return SessionKey(user_id, agent_id, hello.thread_id), hello
        except (BadQuery, InvalidValue) as error:
            raise Closed(CloseCode.BAD_QUERY, str(error)) from error
        except UnknownAgent as error:
            raise Closed(CloseCode.NO_SUCH_AGENT, str(error)) from error

    def _refuse_if_stopping(self) -> None:
        if self._service.stopping:
            raise Closed(CloseCode.RESTARTING, RESTARTING)


def _expire(connection: Connection) -> None:
    connection.stop(Closed(CloseCode.NOT_AUTHENTICATED, "the token has expired"))
