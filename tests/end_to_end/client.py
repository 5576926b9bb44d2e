"""One tab, over a raw socket: it sends, reconnects with resume if told to stay, and keeps every frame."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.end_to_end.view import DURABLE, Frame, View

PATIENCE_S = 100.0
"""How long a test waits for what must come; nothing is concluded from how long it took. A machine whose disk is busy
may keep a commit waiting longer than a statement may take, and then it is tried again."""
PAUSE_S = 0.05
Record = Callable[[dict[str, Any]], None]


class Client:
    """`async with Client(url, thread="t") as client:` is connected inside the block.

    `stays`: reconnect whenever the socket ends, and send again what has no receipt.
    """

    def __init__(
        self,
        url: str,
        *,
        thread: str,
        agent: str | None = None,
        user: str | None = None,
        headers: Mapping[str, str] | None = None,
        cursor: int | None = 0,
        stays: bool = False,
        acks: bool = True,
        open_timeout_s: float = PATIENCE_S,
        record: Record = lambda line: None,
    ) -> None:
        self.view = View(cursor)
        self.closes: list[tuple[int | None, str]] = []
        """Code and reason of each end; None: the connection broke without a close frame."""
        self.connected = 0
        self._url = url
        self._identity = {"threadId": thread}
        if agent is not None:
            self._identity["agentId"] = agent
        if user is not None:
            self._identity["userId"] = user
        self._headers = dict(headers or {})
        self._stays = stays
        self._acks = acks and cursor is not None
        self._open_timeout_s = open_timeout_s
        self._record = record
        self._said: dict[str, Frame] = {}
        self._ever: set[str] = set()
        self._here: set[str] = set()
        """Requests that were sent before any other socket over this one: their receipts come first on it."""
        self._resending: set[asyncio.Task[None]] = set()
        self._socket: ClientConnection | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._live())
        await self.until(lambda client: client.connected > 0 or bool(client.closes))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        self._stays = False
        if self._socket is not None:
            await self._socket.close()
        if self._task is not None:
            tasks = [self._task, *self._resending]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return self._url

    @property
    def thread(self) -> str:
        return self._identity["threadId"]

    async def say(self, content: Any, request_id: str | None = None, **fields: Any) -> str:
        """Send a message; returns its request id. Without a socket it is sent at the next one, if we stay."""
        return await self._request({"type": "message", "content": content} | fields, request_id)

    async def respond(self, interrupt_id: str, value: Any, request_id: str | None = None) -> str:
        """Answer a question, as `say` sends."""
        return await self._request({"type": "respond", "interruptId": interrupt_id, "value": value}, request_id)

    async def cancel(self, request_id: str) -> None:
        """Until it is answered, over as many sockets as that takes: the turn stops, or has ended."""
        asked = -1

        def heard(client: Client) -> bool:
            told = [frame["type"] for frame in client.view.frames if frame.get("requestId") == request_id]
            return "cancelling" in told or request_id in client.view.ends

        while not heard(self):
            if asked != self.connected:
                asked = self.connected
                await self.send({"type": "cancel", "requestId": request_id})
            await self.until(lambda client: heard(client) or client.connected != asked)  # noqa: B023

    async def _request(self, frame: Frame, request_id: str | None) -> str:
        request_id = request_id or uuid.uuid4().hex
        frame = {**frame, "requestId": request_id}
        self._said[request_id] = frame
        await self.send(frame)
        return request_id

    async def send(self, frame: Mapping[str, Any]) -> None:
        if self._socket is not None:
            request_id = frame.get("requestId", "")
            if request_id not in self._ever:
                self._ever.add(request_id)
                self._here.add(request_id)
            self._record({"kind": "sent", "frame": frame})
        await self.send_raw(json.dumps(frame))

    async def send_raw(self, data: str | bytes) -> None:
        """Lost without a word if there is no socket; how the last one ended is in `closes`."""
        with contextlib.suppress(ConnectionClosed):
            if self._socket is not None:
                await self._socket.send(data)

    async def send_raw_text(self, data: bytes) -> None:
        """A text frame with any bytes in it, well-formed or not."""
        assert self._socket is not None
        await self._socket.send(data, text=True)

    def write(self, data: bytes) -> None:
        """Bytes on the wire, as no client library would send them."""
        assert self._socket is not None
        self._socket.transport.write(data)

    async def until(self, true: Callable[[Client], bool], *, patience_s: float = PATIENCE_S) -> None:
        """Wait until something is true of this client. Raises AssertionError after `patience_s`."""
        try:
            async with asyncio.timeout(patience_s):
                while not true(self):
                    self._news.clear()
                    if self._task is None or self._task.done():
                        break
                    await self._news.wait()
        except TimeoutError:
            pass
        assert true(self), f"it never came; closes {self.closes}, last frames:\n{self._latest()}"

    def _latest(self) -> str:
        return "\n".join(json.dumps(frame, ensure_ascii=False)[:200] for frame in self.view.frames[-12:])

    async def answered(self, *request_ids: str, patience_s: float = PATIENCE_S) -> list[Frame]:
        """The durable ends of these requests, once they are there."""
        await self.until(lambda client: all(r in client.view.ends for r in request_ids), patience_s=patience_s)
        return [self.view.ends[request_id] for request_id in request_ids]

    async def ended(self) -> tuple[int | None, str]:
        """The code and reason with which the server ended this connection."""
        await self.until(lambda client: bool(client.closes))
        return self.closes[-1]

    def moves_to(self, url: str) -> None:
        """Its next connections go to another server of the same database."""
        self._url = url

    def cut(self) -> None:
        """Break the connection as a lost network would, without a close frame."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def _live(self) -> None:
        while True:
            try:
                await self._once()
            except (OSError, InvalidHandshake, InvalidMessage, TimeoutError) as error:
                self.closes.append((None, repr(error)))
            self._socket = None
            self._record({"kind": "closed", "code": self.closes[-1][0]})
            self._news.set()
            if not self._stays:
                return
            await asyncio.sleep(PAUSE_S)

    async def _once(self) -> None:
        query = self._identity | self.view.resume()
        url = f"{self._url}/api/chat/ws?{urlencode(query)}"
        async with connect(
            url,
            proxy=None,
            compression=None,
            max_size=None,
            open_timeout=self._open_timeout_s,
            additional_headers=self._headers,
        ) as socket:
            self._here = set()
            self.view.opened(self._here)
            self._record({"kind": "open", "query": query, "url": self._url})
            self._socket = socket
            self.connected += 1
            self._news.set()
            try:
                for request_id, frame in self._said.items():
                    if request_id not in self.view.receipts and request_id not in self.view.users:
                        await self.send(frame)
                await self._read(socket)
            except ConnectionClosed as closed:
                self.closes.append((closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (None, ""))
            else:
                self.closes.append((socket.close_code, socket.close_reason or ""))

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            frame = json.loads(text)
            self.view.apply(frame)
            self._record({"kind": "frame", "frame": frame, "shown": self.view.shown.get(frame.get("requestId", ""))})
            self._news.set()
            if self._acks and frame["type"] in DURABLE and "cursor" in frame:
                await self.send({"type": "ack", "cursor": frame["cursor"]})
            if frame["type"] == "error" and frame["retryable"] and "cursor" not in frame and self._stays:
                again = asyncio.create_task(self._again(frame["requestId"]))
                self._resending.add(again)
                again.add_done_callback(self._resending.discard)

    async def _again(self, request_id: str) -> None:
        """Refused for now: the same request once more, in a while."""
        await asyncio.sleep(4 * PAUSE_S)
        await self.send(self._said[request_id])
