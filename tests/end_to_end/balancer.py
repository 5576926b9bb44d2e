"""What stands before several replicas: a TCP proxy on loopback that sends new connections to those that are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Self

LOOK_S = 0.1


class Balancer:
    """`async with Balancer(ports) as balancer:` spreads what comes to `balancer.port` over them, in turn."""

    def __init__(self, behind: Sequence[int]) -> None:
        self.port = 0
        self.ready: set[int] = set()
        self._behind = behind
        self._turns = count()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        for port in self._behind:
            self._keep(asyncio.create_task(self._probe_forever(port)))
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _probe_forever(self, port: int) -> None:
        while True:
            try:
                found = await asyncio.wait_for(_is_ready(port), 5)
            except (OSError, TimeoutError):
                found = False
            (self.ready.add if found else self.ready.discard)(port)
            await asyncio.sleep(LOOK_S)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = next(self._turns)
        for place in range(len(self._behind)):
            port = self._behind[(turn + place) % len(self._behind)]
            if port in self.ready:
                try:
                    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    continue
                self._keep(asyncio.create_task(_pump(reader, far_writer)))
                self._keep(asyncio.create_task(_pump(far_reader, writer)))
                return
        writer.transport.abort()


async def _is_ready(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return b" 200 " in await reader.readline()
    finally:
        writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()
    except OSError:
        sink.transport.abort()
