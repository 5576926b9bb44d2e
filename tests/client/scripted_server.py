"""A real WebSocket server over the model, on loopback; the test decides when it speaks, falls silent or hangs up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.client.model_server import Frame, ModelServer, Reader

Receive = Callable[[Reader, Frame], None]


class ScriptedServer:
    def __init__(self) -> None:
        self.model = ModelServer()
        self.queries: list[dict[str, str]] = []
        self.received: list[Frame] = []
        self.histories: list[dict[str, str]] = []
        self.tokens: list[str | None] = []
        """What came with each request for history."""
        self.hang_up: list[tuple[int, str]] = []
        """Close codes and reasons for the next connections, one each."""
        self.refuse: list[HTTPStatus] = []
        """HTTP statuses for the next handshakes, one each."""
        self.receive: Receive = lambda reader, frame: reader.receive(frame)
        self.sockets: list[ServerConnection] = []
        self._changed = asyncio.Condition()
        self._server: Server | None = None

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[ScriptedServer]:
        async with serve(self._serve, "127.0.0.1", port, process_request=self._request) as self._server:
            yield self

    async def let(self, *steps: Callable[[], None]) -> None:
        """Change the model, and let everyone hear of it."""
        for step in steps:
            step()
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(holds)

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        query = dict(parse_qsl(url.query))
        if url.path.endswith("/messages"):
            self.histories.append(query)
            self.tokens.append(request.headers.get("Authorization"))
            page = self.model.history(int(query.get("before", len(self.model.log) + 1)))
            return Response(200, "OK", Headers(), json.dumps(page).encode())
        self.queries.append(query)
        if self.refuse:
            return connection.respond(self.refuse.pop(0), "")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        if self.hang_up:
            code, reason = self.hang_up.pop(0)
            await socket.close(code, reason)
            await self.let()
            return
        assert socket.request
        query: dict[str, Any] = dict(parse_qsl(urlsplit(socket.request.path).query))
        reader = self.model.connect(query)
        sender = asyncio.create_task(self._send(socket, reader))
        try:
            async for text in socket:
                frame = json.loads(text)
                self.received.append(frame)
                await self.let(lambda frame=frame: self.receive(reader, frame))  # type: ignore[misc]
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            await self.let(lambda: self.model.readers.remove(reader))

    async def _send(self, socket: ServerConnection, reader: Reader) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: bool(reader.frames))
                while reader.frames:
                    await socket.send(json.dumps(reader.frames.popleft()))
