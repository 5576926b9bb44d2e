"""The Litestar application: the socket, the page, REST, and the service behind them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from litestar import Litestar, Response, Router, WebSocket, websocket
from litestar.datastructures import CacheControlHeader, MutableScopeHeaders
from litestar.exceptions import HTTPException, InternalServerException
from litestar.static_files import create_static_files_router
from litestar.types import Message, Scope

from unbroken.application.log_context import working_for
from unbroken.application.subscribe import TAIL_CURSOR, Shown
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted, Unavailable, UnknownAgent
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web import files, threads
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.connection import Closed, Connection, stalled
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.guard import BROWSER_RULES, Guard
from unbroken.entrypoints.web.health import live, ready
from unbroken.entrypoints.web.query import BadQuery, Hello, parse_query
from unbroken.entrypoints.web.rest import REFUSALS, Call, not_found, refused
from unbroken.entrypoints.web.token_identity import SUBPROTOCOL
from unbroken.entrypoints.web.user_limits import Allowance, TooManySockets

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent.parent / "page"
RESTARTING = "the server is stopping; what was said is kept"
REST: Final = (
    threads.me,
    threads.list_threads,
    threads.create_thread,
    threads.get_thread,
    threads.change_thread,
    threads.delete_thread,
    threads.messages,
    files.add_file,
    files.get_file,
)
FOR_EVER: Final = CacheControlHeader(public=True, max_age=31_536_000, immutable=True)
"""What the page brings along of others has its version in its name."""
ASK_AGAIN: Final = CacheControlHeader(no_cache=True)
"""Modules of two versions must not meet in one page."""
LONGEST_S: Final = 365 * 86_400.0
"""Nobody stays connected for longer; a timer for the end of time would be none."""
NO_FILE: Final[dict[int | type[Exception], Callable[[Call, Exception], Response[Any]]]] = dict.fromkeys(
    (ValueError, OSError, InternalServerException), lambda request, error: refused(request, not_found("page"))
)
"""For paths that no file system can hold."""
OpenService = Callable[[], AbstractAsyncContextManager[Service]]


def create_app(open_service: OpenService, guard: Guard) -> Litestar:
    """The application over a service that is opened when the server starts and closed when it stops."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_service() as service:
            app.state.service = service
            app.state.guard = guard
            app.state.connections = set()
            watch = asyncio.create_task(_close_stalled(app.state.connections, service.settings.reader_stall_s))
            try:
                yield
            finally:
                watch.cancel()

    return Litestar(
        route_handlers=[
            chat,
            Router(path="/", route_handlers=REST, exception_handlers=REFUSALS),
            live,
            ready,
            create_static_files_router(
                path="/vendor",
                directories=[PAGE / "vendor"],
                name="vendor",
                cache_control=FOR_EVER,
                exception_handlers=NO_FILE,
            ),
            create_static_files_router(
                path="/", directories=[PAGE], html_mode=True, cache_control=ASK_AGAIN, exception_handlers=NO_FILE
            ),
        ],
        exception_handlers={HTTPException: refused},
        before_send=[_careful],
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
    )


async def _careful(message: Message, scope: Scope) -> None:
    """Whatever answers, a file or an error, browsers are told the rules; stricter ones stand."""
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        for name, value in BROWSER_RULES.items():
            headers.setdefault(name, value)


@websocket("/api/chat/ws")
async def chat(socket: WebSocket[Any, Any, Any]) -> None:
    offered = socket.headers.get("sec-websocket-protocol", "").split(",")
    await socket.accept(subprotocols=SUBPROTOCOL if SUBPROTOCOL in map(str.strip, offered) else None)
    with working_for(connection=new_id()):
        try:
            await _converse(socket)
        except Closed as end:
            log.info("connection closed with %d", end.code)
            await _close(socket, end.code, str(end))


async def stop_serving(app: Litestar, grace_s: float) -> None:
    """Send everyone away with 1012, then let running turns finish for `grace_s`. The listener stays open meanwhile:
    who comes is told 1012 as well, and who asks whether we are ready, that we are not."""
    service: Service = app.state.service
    draining = asyncio.create_task(service.drain(grace_s))
    await asyncio.sleep(0)  # from here on nobody new is let in
    for connection in list(app.state.connections):
        connection.stop(Closed(CloseCode.RESTARTING, RESTARTING))
    await draining


def _refuse_if_stopping(service: Service) -> None:
    if service.stopping:
        raise Closed(CloseCode.RESTARTING, RESTARTING)


async def _converse(socket: WebSocket[Any, Any, Any]) -> None:
    service: Service = socket.app.state.service
    _refuse_if_stopping(service)
    user = identified(socket)
    guard: Guard = socket.app.state.guard
    try:
        with guard.limits.socket(user.id):
            await _follow(socket, service, user, guard)
    except TooManySockets as error:
        raise Closed(CloseCode.TOO_MANY, str(error)) from error


async def _follow(socket: WebSocket[Any, Any, Any], service: Service, user: User, guard: Guard) -> None:
    key, hello = _hello(socket, service, user.id)
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
        cancel=service.cancel,
        acknowledge=service.acknowledge,
        limits=service.settings.frame_limits,
        frames_per_s=service.settings.frames_per_s,
        allowance=Allowance(guard.limits, service.threads, key),
        legacy=hello.legacy,
    )
    left_s = min(max(0.0, user.until - time.time()), LONGEST_S)
    expiry = asyncio.get_running_loop().call_later(left_s, _expire, connection)
    connections: set[Connection] = socket.app.state.connections
    connections.add(connection)
    try:
        _refuse_if_stopping(service)
        if isinstance(hello.cursor, int):
            connection.presented(hello.cursor)
        await connection.run()
    except Unavailable as error:
        raise Closed(CloseCode.OVERLOADED, "the store does not answer; reconnect with backoff") from error
    finally:
        expiry.cancel()
        connections.discard(connection)
        subscription.close()


def _expire(connection: Connection) -> None:
    connection.stop(Closed(CloseCode.NOT_AUTHENTICATED, "the token has expired"))


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
