"""The protocol's events over server-sent events: one subscription, as long as the response lasts.

A stream that the server ends is left incomplete: a client that reads a proper end takes its run for over.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response
from litestar.types import Receive, Scope, Send

from unbroken.domain.errors import NotYourThread, ThreadDeleted, Unavailable
from unbroken.domain.ports.identity import User
from unbroken.entrypoints.agent_protocol.codec import sse
from unbroken.entrypoints.agent_protocol.streams import Stream, Streams
from unbroken.entrypoints.agent_protocol.wire import EventStreamRequest, Filter
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode

HEARTBEAT_S: Final = 10.0
"""Of a comment; clients that measure it notice when a connection is half open."""
HEARTBEAT: Final = b": still here\n\n"
HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Stream):
    """An ASGI application that answers one request."""

    def __init__(self, streams: Streams, user: User, thread_id: str, request: EventStreamRequest) -> None:
        self._streams = streams
        self._user = user
        self._thread_id = thread_id
        self._feed = streams.feed(user, thread_id)
        self._feed.add("", Filter(request.channels, request.namespaces, request.depth), request.since)
        self._over = asyncio.Event()

    def stop(self, reason: Closed) -> None:
        self._over.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._streams.opened(self, self._user, Request(scope), self._thread_id):
                await self._until_over(receive, send)
        except Closed as end:
            status = HTTPStatus.TOO_MANY_REQUESTS if end.code == CloseCode.TOO_MANY else HTTPStatus.SERVICE_UNAVAILABLE
            await Response({"detail": str(end)}, status_code=status).to_asgi_response(None, Request(scope))(
                scope, receive, send
            )

    async def _until_over(self, receive: Receive, send: Send) -> None:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._send_all(send)),
            asyncio.create_task(_until_gone(receive)),
            asyncio.create_task(self._over.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (NotYourThread, ThreadDeleted, Unavailable):
            return  # who comes again is told why, by a status
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._feed.close()

    async def _send_all(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await self._send(send, HEARTBEAT)
        while True:
            alarm = loop.call_later(HEARTBEAT_S, self._feed.interrupt)
            late = loop.time() + HEARTBEAT_S
            try:
                events = await self._feed.next()
            finally:
                alarm.cancel()
            if events:
                await self._send(send, b"".join(map(sse, events)))
                if events[-1].method == "messages" and (seconds := self._streams.pace.rest_s(loop.time())):
                    self._feed.rest(seconds)
            elif loop.time() >= late:
                await self._send(send, HEARTBEAT)

    async def _send(self, send: Send, body: bytes) -> None:
        self.sending_since = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        self.sending_since = None


class Streamed(Response[None]):
    """What a handler returns to be answered by an ASGI application."""

    def __init__(self, stream: EventStream) -> None:
        super().__init__(None)
        self._stream = stream

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._stream


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
