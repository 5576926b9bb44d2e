"""A TCP proxy on loopback that ends one connection at a chosen byte of what passes it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal, Self

Direction = Literal["requests", "answers"]


class ByteCutter:
    """`async with ByteCutter(port_behind) as cutter:` forwards `cutter.port` to it, and counts."""

    def __init__(self, behind: int) -> None:
        self.port = 0
        self.cuts = 0
        self.passed: dict[Direction, int] = {"requests": 0, "answers": 0}
        """Bytes over all connections since `count`."""
        self._behind = behind
        self._aim: tuple[Direction, int] | None = None
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def count(self) -> None:
        """From zero on."""
        self.passed = {"requests": 0, "answers": 0}
        self._aim = None

    def cut_after(self, direction: Direction, length: int) -> None:
        """Count from zero; what carries byte `length` + 1 of that direction ends behind byte `length`, both ways."""
        self.count()
        self._aim = (direction, length)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._behind)
            pumps = [
                asyncio.create_task(self._pump("requests", reader, far)),
                asyncio.create_task(self._pump("answers", far_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # nobody behind: the one in front is hung up on
        finally:
            self._links.discard(link)
            for end in (writer, far):
                if end is not None:
                    end.close()  # not reset: what was let through arrives

    async def _pump(self, direction: Direction, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            before = self.passed[direction]
            self.passed[direction] += len(data)
            if self._aim is not None and self._aim[0] == direction and self.passed[direction] > self._aim[1]:
                sink.write(data[: self._aim[1] - before])
                self._aim = None
                self.cuts += 1
                return
            sink.write(data)
            await sink.drain()
