"""A TCP proxy on loopback that can lose its connections in the middle of anything, or keep them and carry nothing."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Proxy:
    """`async with Proxy(port_behind) as proxy:` forwards `proxy.port` to it. `behind` may change: what connects from
    then on is led elsewhere."""

    def __init__(self, behind: int, *, host: str = "127.0.0.1") -> None:
        """`behind`: a port of `host`."""
        self.port = 0
        self.behind = behind
        self._host = host
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._arriving: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        self.release()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> int:
        """Reset every connection on both sides, whatever is under way; returns how many there were."""
        for writer in (*self._open, *self._arriving):
            writer.transport.abort()
        return len(self._open) // 2

    def hold(self) -> None:
        """A partition in which packets vanish: connections stay, and nothing flows, neither bytes nor a connection's
        end. New connections are taken and hear nothing."""
        self._flowing.clear()

    def release(self) -> None:
        """What was held flows on, as it does when TCP repeats what was lost."""
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._arriving.add(writer)
        try:
            await self._flowing.wait()
            if writer.transport.is_closing():
                return
            far_reader, far_writer = await asyncio.open_connection(self._host, self.behind)
        except OSError:
            writer.transport.abort()
            return
        finally:
            self._arriving.discard(writer)
        if writer.transport.is_closing():  # cut while it was led on
            far_writer.transport.abort()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._open.add(sink)
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flowing.wait()
                if sink.transport.is_closing():  # cut while it was held
                    return
                sink.write(data)
                await sink.drain()
            await self._flowing.wait()
            sink.close()
        except OSError:
            await self._flowing.wait()
            sink.transport.abort()
        finally:
            self._open.discard(sink)
