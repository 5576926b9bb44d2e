"""A socket in memory: what an ASGI server gives an application, without a network."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]


class Pipe:
    def __init__(self, query: bytes, heard: Callable[[str], None]) -> None:
        """`heard`: called with each text that the application sends."""
        self.scope: Message = {"query_string": query}
        self.code: int | None = None
        """Of the server's close; None: it has not closed, or the client left first."""
        self.ended = asyncio.Event()
        self.reads = asyncio.Event()
        """Cleared: a zero window, nothing that is sent goes anywhere."""
        self.reads.set()
        self.blocked = False
        """Something was sent that the peer does not take."""
        self._heard = heard
        self._inbox: deque[Message] = deque()
        self._news = asyncio.Event()
        self._gone = False

    @property
    def over(self) -> bool:
        return not self.open

    @property
    def open(self) -> bool:
        return not (self._gone or self.ended.is_set())

    def put(self, *frames: str | bytes) -> None:
        """The peer sends: all of it at once."""
        for frame in frames:
            given = {"text": frame} if isinstance(frame, str) else {"bytes": frame}
            self._inbox.append({"type": "websocket.receive", **given})
        self._news.set()

    def leave(self) -> None:
        """The peer's connection ends, whatever is under way."""
        self._gone = True
        self._inbox.append({"type": "websocket.disconnect", "code": 1006})
        self._news.set()
        self.reads.set()

    async def receive(self) -> Message:
        while not self._inbox:
            self._news.clear()
            await self._news.wait()
        return self._inbox.popleft()

    async def send(self, message: Message) -> None:
        """Raises OSError once the peer has left, as ASGI says."""
        self.blocked = not self.reads.is_set()
        await self.reads.wait()
        self.blocked = False
        if self._gone:
            raise OSError("the peer has left")
        self._heard(message["text"])
