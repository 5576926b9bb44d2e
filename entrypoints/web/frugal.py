"""What the server underneath holds of a socket: while nothing happens on it, and once it is gone.

It keeps each handshake, parsed twice, and queues and events that are hardly ever anything but empty: 8 of an idle
socket's 23 KB. And what it has of a connection that ended refers to itself, by its parser and by the exception that a
refused frame left there, and so stays, with as much of a message as had come, until Python looks for such cycles. Here
a socket is let go of at its end, which is what allows Python to look seldom (`collector.py`, I12).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request


class FrugalSocket(WebSocketsSansIOProtocol):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.queue = Inbox()  # type: ignore[assignment]
        self.writable = Door()  # type: ignore[assignment]

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        event.headers.clear()  # they are in the scope by now
        refused: BaseException | None = self.conn.handshake_exc
        while refused is not None:  # in one of its frames a variable refers to it, or to what was its cause
            refused.__traceback__ = None
            refused = refused.__context__

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The parser gave up and said so, in a refusal that nobody would send: the peer would wait for ever.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        if event.data or event.fin:  # an empty piece counts for nothing in a message's size, and would be kept
            super().handle_cont(event)

    def start_keepalive(self) -> None:
        """The handshake is complete."""
        self.response = None  # type: ignore[assignment]
        super().start_keepalive()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.frames.clear()
        self.conn.events.clear()
        self.conn.reader.buffer.clear()
        self.conn.parser.close()
        self.conn.parser_exc = self.conn.handshake_exc = None


class Inbox:
    """As much of an `asyncio.Queue` as a socket uses; for one reader."""

    __slots__ = ("_reader", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Any] | None = None
        """None: nothing, which is nearly always."""
        self._reader: asyncio.Future[None] | None = None

    def empty(self) -> bool:
        return self._waiting is None

    def put_nowait(self, message: Any) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> Any:
        while self._waiting is None:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message = self._waiting.popleft()
        if not self._waiting:
            self._waiting = None
        return message


class Door:
    """As much of an `asyncio.Event` as a socket uses: open, unless the peer takes too little."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: asyncio.Event | None = None

    def set(self) -> None:
        if self._closed is not None:
            self._closed.set()
            self._closed = None

    def clear(self) -> None:
        self._closed = self._closed or asyncio.Event()

    async def wait(self) -> None:
        while self._closed is not None:
            await self._closed.wait()
