"""The Litestar application: the socket, the page, REST, and the service behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from litestar import Litestar, Response, Router, WebSocket, websocket
from litestar.connection.base import empty_receive, empty_send
from litestar.datastructures import CacheControlHeader, MutableScopeHeaders
from litestar.exceptions import HTTPException, InternalServerException
from litestar.static_files import create_static_files_router
from litestar.types import Message, Scope

from unbroken.application.log_context import working_for
from unbroken.domain.utf16 import well_formed
from unbroken.entrypoints.ag_ui.routes import run_agent
from unbroken.entrypoints.agent_protocol.routes import PROTOCOL
from unbroken.entrypoints.agent_protocol.streams import Streams
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.langgraph_api import runs, stateless_runs
from unbroken.entrypoints.langgraph_api.answers import DETAILS
from unbroken.entrypoints.langgraph_api.permissions import Permissions, anything
from unbroken.entrypoints.langgraph_api.routes import CATALOGUE
from unbroken.entrypoints.langgraph_api.ruled import ruled, rules_of_chat
from unbroken.entrypoints.langgraph_api.run_responses import RunResponses
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web import audit, files, threads
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.chat_sockets import ChatSockets
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.guard import BROWSER_RULES, Guard
from unbroken.entrypoints.web.health import live, ready
from unbroken.entrypoints.web.open_connections import OpenConnections
from unbroken.entrypoints.web.rest import REFUSALS, Call, not_found, refused
from unbroken.entrypoints.web.token_identity import SUBPROTOCOL

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent.parent / "page"
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
    audit.timeline,
    audit.checkpoint,
    audit.retry_effect,
)
LANGGRAPH: Final = (
    runs.create,
    runs.stream,
    runs.wait,
    runs.list_runs,
    runs.get_run,
    runs.join,
    runs.join_stream,
    runs.join_thread,
    runs.cancel,
    runs.delete_run,
    stateless_runs.create,
    stateless_runs.stream,
    stateless_runs.wait,
    stateless_runs.batch,
    stateless_runs.cancel_many,
)
"""What LangGraph's own clients ask for, at the addresses where they ask for it."""
FOR_EVER: Final = CacheControlHeader(public=True, max_age=31_536_000, immutable=True)
"""What the page brings along of others has its version in its name."""
ASK_AGAIN: Final = CacheControlHeader(no_cache=True)
"""Modules of two versions must not meet in one page."""
NO_FILE: Final[dict[int | type[Exception], Callable[[Call, Exception], Response[Any]]]] = dict.fromkeys(
    (ValueError, OSError, InternalServerException), lambda request, error: refused(request, not_found("page"))
)
"""For paths that no file system can hold."""
OpenService = Callable[[], AbstractAsyncContextManager[Service]]


def create_app(open_service: OpenService, guard: Guard, permissions: Permissions = anything) -> Litestar:
    """The application over a service that is opened when the server starts and closed when it stops. `permissions`:
    what a project's own rules let callers do, besides what is theirs."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_service() as service:
            app.state.service = service
            app.state.guard = guard
            app.state.permissions = permissions
            app.state.connections = connections = OpenConnections(service)
            app.state.sockets = ChatSockets(service, guard.limits, connections)
            app.state.runs = runs = RunResponses(service, guard.limits, permissions, connections)
            app.state.streams = Streams(service, guard.limits, permissions, connections)
            watch = asyncio.create_task(connections.close_stalled_forever())
            try:
                yield
            finally:
                watch.cancel()
                connections.send_away()
                runs.close()

    return Litestar(
        route_handlers=[
            chat,
            Router(path="/", route_handlers=PROTOCOL, exception_handlers=REFUSALS),
            Router(path="/", route_handlers=REST, exception_handlers=REFUSALS, guards=[ruled]),
            Router(path="/", route_handlers=LANGGRAPH, exception_handlers=DETAILS),
            Router(path="/", route_handlers=CATALOGUE, exception_handlers=DETAILS),
            Router(path="/", route_handlers=(run_agent,), exception_handlers=DETAILS),
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
    await socket.accept(subprotocols=SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
    with working_for(connection=new_id()):
        try:
            sockets: ChatSockets = socket.app.state.sockets
            user = await identified(socket)
            await sockets.converse(socket, user, await rules_of_chat(socket, user))
        except Closed as end:
            log.info("connection closed with %d", end.code)
            await _close(socket, end.code, str(end))
        finally:  # they refer to the socket as it does to them, and to everything underneath
            socket.receive, socket.send = empty_receive, empty_send


async def stop_serving(app: Litestar, grace_s: float) -> None:
    """Send everyone away with 1012, then let running turns finish for `grace_s`. The listener stays open meanwhile:
    who comes is told 1012 as well, and who asks whether we are ready, that we are not."""
    service: Service = app.state.service
    draining = asyncio.create_task(service.drain(grace_s))
    await asyncio.sleep(0)  # from here on nobody new is let in
    app.state.connections.send_away()
    await draining


async def _close(socket: WebSocket[Any, Any, Any], code: CloseCode, reason: str) -> None:
    """A reason is UTF-8, and at most 123 bytes long (RFC 6455)."""
    text = well_formed(reason).encode()[:120].decode(errors="ignore")
    try:
        await socket.close(code=int(code), reason=text)
    except RuntimeError:
        log.debug("the socket was gone before it could be closed")
