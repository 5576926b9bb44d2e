"""The Litestar application: the socket, the page, the threads' history, and the service behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.static_files import create_static_files_router

from unbroken.application.subscribe import TAIL_CURSOR, Shown
from unbroken.domain.errors import InvalidValue, NotYourThread, Refused, ThreadDeleted, Unavailable, UnknownAgent
from unbroken.domain.ports.identity import Caller
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.connection import Closed, Connection, stalled
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.history import history_page
from unbroken.entrypoints.web.identity import LocalIdentity
from unbroken.entrypoints.web.query import BadQuery, Hello, parse_query

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent.parent / "page"
OpenService = Callable[[], AbstractAsyncContextManager[Service]]


def create_app(open_service: OpenService) -> Litestar:
    """The application over a service that is opened when the server starts and closed when it stops."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_service() as service:
            app.state.service = service
            app.state.identity = LocalIdentity()
            app.state.connections = set()
            watch = asyncio.create_task(_close_stalled(app.state.connections, service.settings.reader_stall_s))
            try:
                yield
            finally:
                watch.cancel()

    return Litestar(
        route_handlers=[
            chat,
            messages,
            create_static_files_router(path="/", directories=[PAGE], html_mode=True, include_in_schema=False),
        ],
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
    )


@websocket("/api/chat/ws")
async def chat(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        await _converse(socket)
    except Closed as end:
        await _close(socket, end.code, str(end))


async def _converse(socket: WebSocket[Any, Any, Any]) -> None:
    service: Service = socket.app.state.service
    user_id = _user_of(socket)
    key, hello = _hello(socket, service, user_id)
    shown = Shown(hello.request_id, hello.attempt, hello.offset) if hello.request_id else None
    try:
        subscription = await service.subscribe(key, cursor=_cursor(hello), shown=shown)
    except NotYourThread as error:
        raise Closed(CloseCode.NOT_YOUR_THREAD, str(error)) from error
    except ThreadDeleted as error:
        raise Closed(CloseCode.NOT_YOUR_THREAD, str(error)) from error
    except Unavailable as error:
        raise Closed(CloseCode.OVERLOADED, "the store does not answer; reconnect with backoff") from error
    connection = Connection(
        socket,
        key,
        subscription,
        accept=service.accept,
        acknowledge=service.acknowledge,
        limits=service.settings.frame_limits,
        frames_per_s=service.settings.frames_per_s,
        legacy=hello.legacy,
    )
    connections: set[Connection] = socket.app.state.connections
    connections.add(connection)
    try:
        if isinstance(hello.cursor, int):
            connection.presented(hello.cursor)
        await connection.run()
    except Unavailable as error:
        raise Closed(CloseCode.OVERLOADED, "the store does not answer; reconnect with backoff") from error
    finally:
        connections.discard(connection)
        subscription.close()


def _user_of(connection: ASGIConnection[Any, Any, Any, State]) -> str:
    client = connection.client
    caller = Caller(
        host=client.host if client else "",
        headers={name.lower(): value for name, value in connection.headers.items()},
        query=dict(connection.query_params),
        scheme=str(connection.scope.get("scheme", "")),
    )
    try:
        return str(connection.app.state.identity.user_of(caller))
    except Refused as error:
        raise Closed(CloseCode.NOT_AUTHENTICATED, str(error)) from error


def _hello(socket: WebSocket[Any, Any, Any], service: Service, user_id: str) -> tuple[SessionKey, Hello]:
    try:
        hello = parse_query(socket.scope["query_string"])
        agent_id = hello.agent_id or service.agents.names()[0]
        service.agents.get(agent_id)
        return SessionKey(user_id, agent_id, hello.thread_id), hello
    except (BadQuery, InvalidValue) as error:
        raise Closed(CloseCode.BAD_QUERY, str(error)) from error
    except UnknownAgent as error:
        raise Closed(CloseCode.NO_SUCH_AGENT, str(error)) from error


def _cursor(hello: Hello) -> int | None:
    return TAIL_CURSOR if hello.cursor == "tail" else hello.cursor


async def _close(socket: WebSocket[Any, Any, Any], code: CloseCode, reason: str) -> None:
    """A reason is at most 123 bytes long (RFC 6455)."""
    text = reason.encode()[:120].decode(errors="ignore")
    try:
        await socket.close(code=int(code), reason=text)
    except RuntimeError:
        log.debug("the socket was gone before it could be closed")


async def _close_stalled(connections: set[Connection], limit_s: float) -> None:
    while True:
        await asyncio.sleep(min(1.0, limit_s / 4))
        now = asyncio.get_running_loop().time()
        for connection in stalled(connections, now, limit_s):
            connection.stop(Closed(CloseCode.OVERLOADED, f"nothing was read for {limit_s:g} s"))


@get("/api/threads/{thread_id:str}/messages")
async def messages(
    request: ASGIConnection[Any, Any, Any, State], thread_id: str, before: int | None = None, limit: int = 50
) -> dict[str, Any]:
    service: Service = request.app.state.service
    try:
        return await history_page(service.sessions, service.outbox, _user_of(request), thread_id, before, limit)
    except Closed as error:
        raise HTTPException(status_code=401, detail=str(error)) from error
    except (NotYourThread, ThreadDeleted) as error:
        raise HTTPException(status_code=404, detail="no such thread") from error
    except InvalidValue as error:
        raise HTTPException(status_code=400, detail=str(error)) from error
    except Unavailable as error:
        raise HTTPException(status_code=503, detail="the store does not answer; try again") from error
