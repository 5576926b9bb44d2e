"""The chat sockets of one process: each from its query to its end."""

from __future__ import annotations

from typing import Any, Final

from litestar import WebSocket

from unbroken.application.subscribe import TAIL_CURSOR, Shown
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted, Unavailable, UnknownAgent
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.langgraph_api.ruled import ChatRules
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.connection import Closed, Connection
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.open_connections import OpenConnections
from unbroken.entrypoints.web.pace import Pace
from unbroken.entrypoints.web.query import BadQuery, Hello, parse_query
from unbroken.entrypoints.web.user_limits import Allowance, TooManySockets, UserLimits

NO_STORE: Final = "the store does not answer; reconnect with backoff"


class ChatSockets:
    def __init__(self, service: Service, limits: UserLimits, connections: OpenConnections) -> None:
        self._service = service
        self._limits = limits
        self._pace = Pace()
        self._connections = connections

    async def converse(self, socket: WebSocket[Any, Any, Any], user: User, rules: ChatRules | None = None) -> None:
        """Until the client leaves. `rules`: asked about whatever is said, and again and again whether the chat may go
        on. Raises Closed: the server ends the connection, with this code."""
        self._connections.refuse_if_stopping()
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
            may_cancel=None if rules is None else rules.may_cancel,
            acknowledge=service.acknowledge,
            limits=service.settings.frame_limits,
            frames_per_s=service.settings.frames_per_s,
            allowance=Allowance(self._limits, service.threads, key),
            pace=self._pace,
            legacy=hello.legacy,
            admit=None if rules is None else rules.admit,
        )
        self._connections.opened(connection, user.until, None if rules is None else rules.look_again)
        try:
            if isinstance(hello.cursor, int):
                connection.presented(hello.cursor)
            await connection.run()
        finally:
            self._connections.closed(connection)
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
