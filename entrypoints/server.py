"""The server process: claim the port, start or find the database, bring it up to date, serve until told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click
import uvicorn
from litestar import Litestar

from unbroken.adapters.langgraph.loading import NamedGraph, load_graphs
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.embedded_watch import kept_running
from unbroken.adapters.postgres.migrate import migrate
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.service import running
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.web.app import create_app
from unbroken.entrypoints.web.identity import LOOPBACK_NAMES

SEND_BUFFER_BYTES = 64 << 10
"""Asked of the kernel for each socket, so that a stalled reader holds little of this machine (I12)."""


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises UnbrokenError, EmbeddedError or SettingsError with one line to show."""
    if settings.host not in LOOPBACK_NAMES:
        raise InvalidValue("host", f"{settings.host} is not a loopback address; UNBROKEN_AUTH=none serves no other")
    graphs = agent_graphs(settings)
    listener = _bind(settings.host, settings.port)
    signal.signal(signal.SIGTERM, _end)
    lost = Lost()
    with database(settings) as url:
        app = create_app(lambda: running(settings, url, graphs, on_lost=lost))
        server = lost.server = _Server(_config(settings, app))
        with suppress(KeyboardInterrupt, _Ended):  # given back by uvicorn once it has shut down
            server.run(sockets=[listener])
    if lost.happened:
        raise click.ClickException(f"another process now runs as replica {settings.replica!r}; this one has stopped")
    if not server.started:
        raise click.ClickException("the server could not start; the log above says why")


class _Ended(SystemExit):
    """SIGTERM, as an exception: whatever is open is closed on the way out, the embedded database included."""


def _end(signum: int, frame: object) -> None:
    raise _Ended(0)


class Lost:
    """What to do when another boot of this replica has taken its place: stop serving at once."""

    server: uvicorn.Server | None = None
    happened = False

    def __call__(self) -> None:
        self.happened = True
        if self.server is not None:
            self.server.should_exit = True


class _Server(uvicorn.Server):
    """Says where it can be reached once it can be."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            click.echo(f"page    http://{shown}:{port}/", err=True)
            click.echo(f"socket  ws://{shown}:{port}/api/chat/ws?threadId=…&cursor=0", err=True)


def agent_graphs(settings: Settings) -> list[NamedGraph]:
    """The agents' graphs, the default first. Raises InvalidValue."""
    return load_graphs(settings.agents, model=settings.model, model_base_url=settings.model_base_url)


def _config(settings: Settings, app: Litestar) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        ws="websockets-sansio",
        ws_max_size=settings.max_frame_bytes,
        ws_per_message_deflate=False,  # frames are small; deflate costs more than it saves, and memory a socket
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
    )


@contextmanager
def database(settings: Settings) -> Iterator[str | None]:
    """The database's URL, migrated; None in memory. An embedded server is started again whenever it ends by
    itself, and stopped at the end."""
    if settings.in_memory:
        yield None
    elif settings.database_url is not None:
        asyncio.run(migrate(settings.database_url))
        yield settings.database_url
    else:
        click.echo(f"starting PostgreSQL in {settings.data_dir} …", err=True)
        embedded = EmbeddedPostgres(settings.data_dir, port=settings.database_port)
        url = embedded.start()
        try:
            asyncio.run(migrate(url))
            with kept_running(embedded):
                yield url
        finally:
            embedded.stop()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InvalidValue(
            "port", f"cannot serve on {host}:{port}: {error.strerror}; choose another with --port"
        ) from None
    listener.listen(2048)
    return listener
