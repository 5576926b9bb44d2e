"""Replicas over one database and one broker, and a proxy on each way between them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import asyncpg

from tests.bus.nats_server import NatsServer
from tests.end_to_end.proxy import Proxy
from tests.end_to_end.server import GRAPHS, Server
from tests.replicas.provider import Provider
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

Bus = Literal["nats", "postgres", "cut", "none"]
"""A broker; PostgreSQL's hints only; a broker that nobody ever reaches; polls only."""
LEASE_S: Final = 3.0
SETTINGS: Final = {
    "UNBROKEN_LEASE_TTL_S": str(LEASE_S),
    "UNBROKEN_HEARTBEAT_S": "1",
    "UNBROKEN_MAX_TRIES": "50",  # chance may hit one message often
    "UNBROKEN_RETRY_BACKOFF_S": "0.1",
    "UNBROKEN_RETRY_MAX_BACKOFF_S": "1",
    "UNBROKEN_LOG_LEVEL": "warning",
}
BILLED: Final = ("--agent", f"billed={GRAPHS / 'billed.py'}:graph")


class Replica:
    """One replica's process, and its ways: `sockets` from clients, `wire` to the database, `line` to the broker."""

    def __init__(self, server: Server, name: str, sockets: Proxy, wire: Proxy, line: Proxy | None) -> None:
        self.server = server
        self.name = name
        self.sockets = sockets
        self.wire = wire
        self.line = line
        self.away = True
        """It is meant not to run."""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.sockets.port}"

    async def start(self) -> None:
        """Returns when it answers. Raises AssertionError with its own words."""
        self.server.start()
        self.sockets.behind = self.server.port
        await asyncio.to_thread(self.server.wait_ready)
        self.away = False

    async def kill(self) -> None:
        self.away = True
        await asyncio.to_thread(self.server.kill)

    async def stop(self) -> int:
        """Told to; returns its exit code. Raises AssertionError if it hangs."""
        self.away = True
        return await asyncio.to_thread(self.server.stop)

    def stall(self) -> None:
        self.server.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.server.process.send_signal(signal.SIGCONT)

    def ended_by_itself(self) -> bool:
        return not self.away and self.server.process.poll() is not None


class Place:
    """`async with Place(folder, replicas=3, bus="nats") as place:` has all of them ready."""

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int,
        bus: Bus,
        settings: Mapping[str, str] | None = None,
        broker_host: str = "127.0.0.1",
        provider_hosts: Sequence[str] = (),
    ) -> None:
        self.bus = bus
        self.replicas: list[Replica] = []
        self.database = EmbeddedPostgres(folder / "database")
        self.provider = Provider(*provider_hosts)
        self.broker = NatsServer(host=broker_host) if bus == "nats" else None
        self._count = replicas
        self._folder = folder
        self._settings = {**SETTINGS, **(settings or {})}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self.database.stop, immediate=True)
            await asyncio.to_thread(self.database.start)
            await asyncio.to_thread(self._open_database)
            if self.broker is not None:
                stack.push_async_callback(self.broker.kill)
                await self.broker.start()
            await stack.enter_async_context(self.provider)
            for number in range(1, self._count + 1):
                self.replicas.append(await self._replica(stack, f"r{number}"))
                stack.push_async_callback(self._end, self.replicas[-1])
            await self.replicas[0].start()  # it makes the tables
            await asyncio.gather(*(replica.start() for replica in self.replicas[1:]))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _open_database(self) -> None:
        """Makes it reachable for replicas that are not on loopback; here there are none."""

    async def _replica(self, stack: AsyncExitStack, name: str) -> Replica:
        """One with all its ways, not started yet."""
        wire = await stack.enter_async_context(Proxy(self.database.port))
        line = None
        if self.broker is not None:
            line = await stack.enter_async_context(Proxy(self.broker.port, host=self.broker.host))
        elif self.bus == "cut":  # there is nothing behind the proxy
            line = await stack.enter_async_context(Proxy(1))
        sockets = await stack.enter_async_context(Proxy(0))
        return Replica(self.server(name, wire, line), name, sockets, wire, line)

    def server(self, name: str, wire: Proxy, line: Proxy | None) -> Server:
        """A process that is to be known by that name, on a port of its own; not started yet."""
        url = self.database.tcp_url.replace(f":{self.database.port}/", f":{wire.port}/")
        bus_url = f"nats://127.0.0.1:{line.port}" if line is not None else "none" if self.bus == "none" else None
        environment = self.environment(name, self.provider.address(), bus_url)
        return Server(self.folder(name), database_url=url, environment=environment, arguments=BILLED, aloof=True)

    def folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def environment(self, name: str, provider: str, bus_url: str | None) -> dict[str, str]:
        """`bus_url` None: what the product does by itself."""
        return {
            **self._settings,
            "UNBROKEN_REPLICA_NAME": name,
            "UNBROKEN_TEST_REPLICA": name,
            "UNBROKEN_TEST_PROVIDER": provider,
            **({"UNBROKEN_BUS_URL": bus_url} if bus_url is not None else {}),
        }

    async def _end(self, replica: Replica) -> None:
        """However it stands: stalled, held or gone."""
        if replica.server.started and replica.server.process.poll() is None:
            await replica.kill()

    async def terminate_backends(self) -> int:
        """Every connection of the replicas to the database; returns how many there were."""
        connection = await asyncpg.connect(self.database.url)
        try:
            return int(
                await connection.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            )
        finally:
            await connection.close()
