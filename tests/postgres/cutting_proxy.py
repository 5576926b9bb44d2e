"""A TCP proxy on loopback that loses one request, or the answer to it, and says that it has."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal, Self

READY_FOR_QUERY = b"Z\x00\x00\x00\x05I"
"""The server's last word on a statement outside of transactions: its commit lies before it."""

Loss = Literal["request", "answer"]


class CuttingProxy:
    def __init__(self, behind: int) -> None:
        self.port = 0
        self.losses = 0
        self._behind = behind
        self._next: Loss | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    def lose_next(self, what: Loss) -> None:
        """The next request is not forwarded; or it is, its statement ends on the server, and the answer is not."""
        self._next = what

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        self._writers |= {writer, far_writer}
        answer_is_lost = asyncio.Event()
        try:
            await asyncio.wait(
                (
                    asyncio.create_task(self._requests(reader, far_writer, answer_is_lost)),
                    asyncio.create_task(self._answers(far_reader, writer, answer_is_lost)),
                ),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            writer.transport.abort()
            far_writer.transport.abort()
            self._writers -= {writer, far_writer}

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer_is_lost: asyncio.Event
    ) -> None:
        while data := await _some(reader):
            if self._next == "request":
                self._next = None
                self.losses += 1
                return
            if self._next == "answer":
                self._next = None
                answer_is_lost.set()
            writer.write(data)

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer_is_lost: asyncio.Event
    ) -> None:
        swallowed = b""
        while data := await _some(reader):
            if answer_is_lost.is_set():
                swallowed += data
                if swallowed.endswith(READY_FOR_QUERY):
                    self.losses += 1
                    return
            else:
                writer.write(data)


async def _some(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except OSError:
        return b""
