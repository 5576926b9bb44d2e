"""Sockets between clients and replicas: in order, late, cut off, silent, or with a reader that takes nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.simulation.loop import Actor, SimulatedLoop

WINDOW: Final = 12
"""Frames on their way that nobody has read; with more of them, a send waits."""
PING_S: Final = 1.2
"""How long it takes either end to notice that the other one is silent."""
CLOSED_HARD: Final = 1006


class Line:
    """One connection. Each end is used by one actor; what is on its way belongs to the world."""

    def __init__(self, loop: SimulatedLoop, random: Random, replica: Actor, query: str) -> None:
        self._loop = loop
        self._random = random
        self.replica = replica
        self.client = ClientEnd(self)
        self.server = ServerEnd(self, query)
        self.closed = False
        self.silent = False
        """Nothing arrives any more, and nobody has been told."""
        self.on_send: Callable[[str], None] = lambda _: None
        """Told of each frame that the replica sends to a client that has read all before it."""
        self._arrivals = [0.0, 0.0]
        self._pace = 0.0005 + 0.004 * random.random()

    def to_server(self, message: dict[str, Any]) -> None:
        self._carry(0, self.server.arrived, message)

    def to_client(self, text: str) -> None:
        self._carry(1, self.client.arrived, text)

    def close(self, code: int) -> None:
        """By the server's word: everything sent before it arrives before it."""
        if not self.closed and not self.silent:
            self._carry(1, self._over, code)

    def cut(self) -> None:
        """Both ends are told; what is on its way is lost."""
        self._over(CLOSED_HARD)

    def fall_silent(self) -> None:
        self.silent = True
        self._loop.later(PING_S * (0.5 + self._random.random()), self.client.ended, CLOSED_HARD)
        self._loop.later(PING_S * (1.0 + self._random.random()), self.server.ended)

    def leave(self) -> None:
        """By the client's word."""
        if not self.closed:
            self.closed = True
            if not self.silent:
                self._carry(0, lambda _: self.server.ended(), None, always=True)

    def _over(self, code: int) -> None:
        self.closed = True
        self.client.ended(code)
        self.server.ended()

    def _carry(self, way: int, arrive: Any, what: Any, *, always: bool = False) -> None:
        at = max(self._arrivals[way], self._loop.time() + self._pace * (0.2 + self._random.random()))
        self._arrivals[way] = at

        def land() -> None:
            if always or not (self.closed or self.silent):
                arrive(what)

        self._loop.later(at - self._loop.time(), land)


class ServerEnd:
    """As much of a WebSocket as a connection of the product uses."""

    def __init__(self, line: Line, query: str) -> None:
        self.scope = {"query_string": query.encode()}
        self._line = line
        self._inbox: deque[dict[str, Any]] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._window: asyncio.Future[None] | None = None
        self._ended = False

    async def receive(self) -> dict[str, Any]:
        while not self._inbox:
            if self._ended:
                return {"type": "websocket.disconnect", "code": CLOSED_HARD}
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._inbox.popleft()

    async def send(self, message: dict[str, Any]) -> None:
        if self._ended:
            return
        if not self._line.client.unread:
            self._line.on_send(message["text"])
        self._line.client.unread += 1
        self._line.to_client(message["text"])
        while self._line.client.unread > WINDOW and not self._ended:
            self._window = asyncio.get_running_loop().create_future()
            await self._window

    def arrived(self, message: dict[str, Any]) -> None:
        self._inbox.append(message)
        _wake(self._waiting)

    def ended(self) -> None:
        self._ended = True
        _wake(self._waiting)
        _wake(self._window)

    def read_on(self) -> None:
        _wake(self._window)


class ClientEnd:
    def __init__(self, line: Line) -> None:
        self._line = line
        self._inbox: deque[str | int] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self.unread = 0
        self._ended = False

    def send(self, text: str) -> None:
        self._line.to_server({"type": "websocket.receive", "text": text})

    async def receive(self) -> str | int:
        """A frame's text, or the code that the connection was closed with."""
        while not self._inbox:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        got = self._inbox.popleft()
        if isinstance(got, str):
            self.unread -= 1
            if self.unread == WINDOW:
                self._line.server.read_on()
        return got

    def leave(self) -> None:
        self._line.leave()

    def arrived(self, text: str) -> None:
        self._inbox.append(text)
        _wake(self._waiting)

    def ended(self, code: int) -> None:
        if not self._ended:
            self._ended = True
            self._inbox.append(code)
            _wake(self._waiting)


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
