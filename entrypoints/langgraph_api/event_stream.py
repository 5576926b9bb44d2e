"""Server-sent events: text that grows, over a response that ends when its reader leaves, stalls, or may not stay.

The body is pulled: while a reader takes nothing, nothing is made for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final

from litestar.types import Receive, Scope, Send

from unbroken.entrypoints.langgraph_api.run_events import RunEvent

HEARTBEAT: Final = b": heartbeat\r\n\r\n"
HEARTBEAT_S: Final = 5.0
BLANK: Final = b"\n"
"""What JSON may begin with: a body that is long in coming shows that its server is there."""


def encoded(events: Iterable[RunEvent]) -> bytes:
    """JSON holds no line break, so each event's data is one line."""
    return b"".join(
        b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (_line(event.event), event.data, event.id.encode())
        for event in events
    )


def _line(text: str) -> bytes:
    """Nodes may be called anything."""
    return text.replace("\r", "").replace("\n", "").encode(errors="replace")


class Streams:
    """The responses of one process that are still being written."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def send_away(self) -> None:
        """End them where they stand: their readers ask again, and go on with the last event that they have."""
        for task in self._tasks:
            task.cancel()


class Stalled(Exception):
    """The reader takes nothing."""


class Streamed:
    """An ASGI response whose body comes in pieces.

    `left`: what is to be done if the reader goes before its end; `closed`: in any case, at the end. A body that is
    given up is broken off: by a proper end, most clients take a run for over.
    """

    def __init__(
        self,
        body: AsyncGenerator[bytes, None],
        streams: Streams,
        *,
        headers: dict[str, str],
        idle: bytes,
        stall_s: float,
        stays_s: float | None = None,
        left: Callable[[], Awaitable[None]] | None,
        closed: Callable[[], None],
    ) -> None:
        self._body = body
        self._streams = streams
        self._headers = headers
        self._idle = idle
        self._stall_s = stall_s
        self._stays_s = stays_s
        self._left = left
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self._write(send))
        self._streams.add(writing)
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({writing, leaving}, timeout=self._stays_s, return_when=asyncio.FIRST_COMPLETED)
            gone = leaving.done() and not writing.done()
        finally:
            leaving.cancel()
            writing.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)
            self._closed()
        failure = None if writing.cancelled() else writing.exception()
        if gone or isinstance(failure, Stalled):
            if self._left is not None:
                await self._left()
        elif failure is not None:
            raise failure
        elif not writing.cancelled():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send(send, b"")
        async with aclosing(_with_pauses(self._body, self._idle)) as pieces:
            async for piece in pieces:
                await self._send(send, piece)

    async def _send(self, send: Send, piece: bytes) -> None:
        try:
            async with asyncio.timeout(self._stall_s):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise Stalled from None


async def _with_pauses(body: AsyncGenerator[bytes, None], idle: bytes) -> AsyncGenerator[bytes, None]:
    """`idle` whenever nothing has come for a while."""
    try:
        while True:
            following = asyncio.ensure_future(anext(body))
            try:
                while not (await asyncio.wait({following}, timeout=HEARTBEAT_S))[0]:
                    yield idle
                yield following.result()
            except StopAsyncIteration:
                return
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
    finally:
        await body.aclose()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
