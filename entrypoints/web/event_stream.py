"""Server-sent events, and other bodies that come in pieces: a response that ends when its reader leaves, stalls, or may
not stay, whichever protocol its pieces are of.

The body is pulled: while a reader takes nothing, nothing is made for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from litestar import Request
from litestar.types import Message, Receive, Scope, Send

from unbroken.domain.errors import UnbrokenError
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.open_connections import Look, OpenConnections
from unbroken.entrypoints.web.rest import Problem

log = logging.getLogger(__name__)

HEARTBEAT: Final = b": heartbeat\r\n\r\n"
"""A comment, by which clients know a connection that is half open."""
HEARTBEAT_S: Final = 5.0
BLANK: Final = b"\n"
"""What JSON may begin with: a body that is long in coming shows that its server is there."""
HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


class Streamed:
    """An ASGI response whose body comes in pieces.

    A body that is given up is broken off: by a proper end, most clients take a run for over. `idle`: what is sent while
    no piece comes. `until`: when the reader's time is over, as seconds since the epoch. `looks`: given the request, how
    it is found out again whether the reader may look on; None: nobody has to be asked. `left`: what is to be done if
    the reader is gone before the end, for good as far as is known here: where the server stops, it comes again.
    `closed`: in any case, at the end.
    """

    def __init__(
        self,
        body: AsyncGenerator[bytes, None],
        connections: OpenConnections,
        *,
        headers: dict[str, str],
        idle: bytes,
        until: float,
        looks: Callable[[Request[Any, Any, Any]], Look | None],
        closed: Callable[[], None],
        left: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._body = body
        self._connections = connections
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._idle = idle
        self._until = until
        self._looks = looks
        self._left = left
        self._closed = closed
        self._over: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self._sending = asyncio.Lock()
        self._sent_at = asyncio.get_running_loop().time()
        self._complete = False
        """Nothing is lacking but the end of the response."""
        self.sending_since: float | None = None

    def stop(self, reason: Closed) -> None:
        if not self._over.done():
            self._over.set_result(reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.create_task(_until_gone(receive))
        tasks = [asyncio.create_task(self._write(send)), leaving, asyncio.create_task(self._keep_open(send))]
        ends: set[asyncio.Future[Any]] = {*tasks, self._over}
        try:
            self._connections.opened(self, self._until, self._looks(Request(scope)))
            try:
                done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._connections.closed(self)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._closed()
        if self._complete:
            return
        if self._left is not None and (leaving in done or (self._over in done and _gone_for_good(self._over.result()))):
            await self._left()
        for task in tasks:
            if task in done and not task.cancelled() and (failure := task.exception()) is not None:
                _broken_off(failure)

    async def _write(self, send: Send) -> None:
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self._headers})
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": True})
        async with aclosing(self._body) as pieces:
            async for piece in pieces:
                await self._send(send, {"type": "http.response.body", "body": piece, "more_body": True})
        self._complete = True
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _keep_open(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._sent_at + HEARTBEAT_S - loop.time())
            async with self._sending:  # behind whatever is being written
                if loop.time() >= self._sent_at + HEARTBEAT_S and not self._complete:
                    await self._sent(send, {"type": "http.response.body", "body": self._idle, "more_body": True})

    async def _send(self, send: Send, message: Message) -> None:
        async with self._sending:
            await self._sent(send, message)

    async def _sent(self, send: Send, message: Message) -> None:
        clock = asyncio.get_running_loop().time
        self.sending_since = clock()
        await send(message)
        self.sending_since = None
        self._sent_at = clock()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _gone_for_good(reason: Closed) -> bool:
    return reason.code != CloseCode.RESTARTING


def _broken_off(failure: BaseException) -> None:
    """Who comes again is told why, by a status. Raises a defect."""
    if not isinstance(failure, UnbrokenError | Problem | Closed):
        raise failure
    log.info("a stream was broken off: %s", failure)
