"""The server process: claim the port, start or find the database, bring it up to date, serve until told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress

import click
import uvicorn
from litestar.types import ASGIApp

from unbroken.adapters.langgraph.loading import NamedGraph
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints import observing
from unbroken.entrypoints.allocator import give_back_what_is_large
from unbroken.entrypoints.collector import collect_when_grown, leave_alone_what_is_there
from unbroken.entrypoints.langgraph_api.permissions import anything
from unbroken.entrypoints.langgraph_api.project_rules import ProjectRules
from unbroken.entrypoints.listener import BACKLOG
from unbroken.entrypoints.served_database import database
from unbroken.entrypoints.served_project import what_is_served
from unbroken.entrypoints.service import running
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.stopping import Stopping
from unbroken.entrypoints.web.app import create_app, stop_serving
from unbroken.entrypoints.web.doors import LOOPBACK_NAMES
from unbroken.entrypoints.web.frugal import FrugalSocket
from unbroken.entrypoints.web.guard import guard_of
from unbroken.entrypoints.web.patience import PatientHttp
from unbroken.entrypoints.worker import REPLACED, Worker

LAST_REQUESTS_S = 2
"""What requests under way get once the turns are drained and the listener is closed."""
LAST_TASKS_S = 1.0


def run(settings: Settings, stopping: Stopping, listener: socket.socket, worker: Worker | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Raises UnbrokenError or EmbeddedError with one line to show. `worker`: this is one
    of several, whose parent has the database, brought up to date, and tells where they can be reached.

    `stopping`: entered already; where something that was told to stop does not end, it ends the process. `listener`:
    whoever connects to it before it is served from here waits; it is closed when serving ends.
    """
    stopping.limit_s = settings.stop_limit_s
    stopping.go_on()
    give_back_what_is_large()
    observing.wanted()  # says now what cannot be
    guard_of(settings)  # says now what cannot be
    if worker is not None:
        worker.stop_when_alone()
    what = what_is_served(settings)
    settings = what.settings(settings)
    if settings.auth == "none" and what.auth is None and settings.host not in LOOPBACK_NAMES:
        raise InvalidValue("host", f"{settings.host} is not a loopback address; UNBROKEN_AUTH=none serves no other")
    if worker is None or worker.number == 1:
        what.warn_of_everybody(settings)
    guard = guard_of(settings, what.cors, what.auth)
    permissions = anything if what.auth is None else ProjectRules(what.auth)
    stopping.go_on()
    lost = Lost(stopping)
    with database(settings, stopping) if worker is None else nullcontext(settings.database_url) as url:
        app = create_app(lambda: running(settings, url, what.graphs, on_lost=lost, served=what), guard, permissions)

        async def drain() -> None:
            await stop_serving(app, 0.0 if lost.happened else settings.drain_s)

        server = lost.server = _Server(_config(settings, what.around(app)), drain, worker)
        stopping.comes_up(server.stop)
        _run(server, listener)
    if lost.happened:
        raise Replaced(settings.replica, alone=worker is None)
    if not server.started:
        raise click.ClickException("the server could not start; the log above says why")


class Replaced(click.ClickException):
    def __init__(self, replica: str, *, alone: bool) -> None:
        super().__init__(f"another process now runs as replica {replica!r}; this one has stopped")
        self.exit_code = 1 if alone else REPLACED  # type: ignore[misc]


class Lost:
    """What to do when another boot of this replica has taken its place: stop serving at once."""

    server: _Server | None = None
    happened = False

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping

    def __call__(self) -> None:
        self.happened = True
        self._stopping.begin()
        if self.server is not None:
            self.server.stop()


class _Server(uvicorn.Server):
    """Says where it can be reached once it can be; drains its turns before it closes its listener."""

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]], worker: Worker | None = None
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._worker = worker
        self._collecting: asyncio.Task[None] | None = None

    def stop(self) -> None:
        self.should_exit = True

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()  # `Stopping` has them, from before the start to the very end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()
        await super().shutdown(sockets)
        if self._collecting is not None:
            self._collecting.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            leave_alone_what_is_there()
            self._collecting = asyncio.create_task(collect_when_grown())
        if self.started and self._worker is not None:
            self._worker.serves()
        elif self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            click.echo(f"page    http://{shown}:{port}/", err=True)
            click.echo(f"socket  ws://{shown}:{port}/api/chat/ws?threadId=…&cursor=0", err=True)


def _run(server: _Server, listener: socket.socket) -> None:
    """As `asyncio.run`, which would wait for threads that an agent's code blocks, and for tasks that ignore their
    cancellation."""
    loop = asyncio.SelectorEventLoop() if (factory := server.config.get_loop_factory()) is None else factory()
    try:
        with suppress(SystemExit):  # uvicorn's code for a start that failed is one of ours for something else
            loop.run_until_complete(server.serve(sockets=[listener]))
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LAST_TASKS_S))
        with suppress(TimeoutError):
            loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), LAST_TASKS_S))
        loop.close()


def agent_graphs(settings: Settings) -> list[NamedGraph]:
    """The agents' graphs, the default first. Raises InvalidValue."""
    return [*what_is_served(settings).graphs]


def _config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=PatientHttp,
        loop="uvloop",
        ws=FrugalSocket,
        ws_max_size=settings.max_frame_bytes,
        backlog=BACKLOG,
        ws_per_message_deflate=False,  # frames are small; deflate costs more than it saves, and memory a socket
        timeout_graceful_shutdown=LAST_REQUESTS_S,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the peer's address is the peer's, whatever a header says
        lifespan="on",
    )
