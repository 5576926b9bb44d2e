"""Where the clients play: the model provider, a wire to the server that can be cut, and a switch that kills the server.

Clients of any language reach the last two over HTTP: POST /cut, POST /restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import uvicorn

from tests.end_to_end.ports import free_port
from tests.stock.provider import Provider, Receive, Scope, Send, answer


class Stage:
    """A thread with a loop of its own, so that cases may be written in either style, and in either language."""

    def __init__(self, server_port: int, restart: Callable[[], None] | None = None) -> None:
        """`restart` kills the server (-9) and returns when it answers again; None: nobody here may kill it."""
        self.server_port = server_port
        self._restart = restart
        self._provider = Provider()
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._back = asyncio.Event()
        self._back.set()
        self._refused = False
        self.port, self.wire_port = free_port(), free_port()
        config = uvicorn.Config(self, host="127.0.0.1", port=self.port, log_level="error", lifespan="off", ws="none")
        self._uvicorn = uvicorn.Server(config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._play()), name="stage", daemon=True)

    @property
    def can_restart(self) -> bool:
        return self._restart is not None

    @property
    def control(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def provider_url(self) -> str:
        return f"{self.control}/v1"

    @property
    def url(self) -> str:
        """The server, by the wire that can be cut."""
        return f"http://127.0.0.1:{self.wire_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30), "the stage does not stand"
        for _ in range(3000):
            if self._uvicorn.started or not self._thread.is_alive():
                break
            time.sleep(0.01)
        assert self._uvicorn.started, "the stage does not stand"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._provider.let_go()
        self._uvicorn.should_exit = True
        self._uvicorn.force_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the stage does not come down"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/cut":
            self._cut()
            await answer(send, {})
        elif scope["path"] == "/restart" and self._restart is not None:
            self._back.clear()
            self._refused = False
            try:
                await asyncio.to_thread(self._restart)
            finally:
                self._back.set()
            await answer(send, {})
        else:
            await self._provider(scope, receive, send)

    async def _play(self) -> None:
        wire = await asyncio.start_server(self._carry, "127.0.0.1", self.wire_port)
        serving = asyncio.create_task(self._uvicorn.serve())
        self._ready.set()
        await serving
        wire.close()
        self._cut()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def _cut(self) -> None:
        """Every connection ends as a network's failure ends it: with a reset, and without a word."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        ends = [writer]
        try:
            far_reader, far_writer = await self._reached()
            ends.append(far_writer)
            self._writers.update(ends)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()  # asyncio's own callback would report a cancelled task as a failure
        finally:
            self._pumps.discard(task)
            self._writers.difference_update(ends)
            for end in ends:
                end.close()

    async def _reached(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The server. While it comes up again the first who comes is refused, and whoever comes after that waits, as
        at a load balancer: clients give up after 17 s of refusals, and a start may take longer on a busy machine."""
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self.server_port)
            except OSError:
                if self._back.is_set() or not self._refused:
                    self._refused = True
                    raise
                await self._back.wait()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            with contextlib.suppress(OSError):
                sink.write_eof()
        except OSError:
            sink.transport.abort()
