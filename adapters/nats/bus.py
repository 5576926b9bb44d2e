"""Hints and messages over core NATS, which keeps nothing: what is published while somebody is away never reaches it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from unbroken.adapters.carried_hints import CarriedWakeups, Company, until_ended
from unbroken.adapters.nats.connection import TROUBLE, BrokerConnection
from unbroken.domain.ports.peers import MAX_MESSAGE_BYTES, Peers

log = logging.getLogger(__name__)

HINTS_BYTES: Final = 64 << 10
"""Of one message of hints."""
WAITING_BYTES: Final = 8 << 20
"""Of messages that wait to be published (I12); beyond, new ones are dropped."""
PAUSES_S: Final = (0.1, 5.0)
"""Between two tries to connect: the first, and the longest."""
LAST_HINTS_S: Final = 1.0


class NatsBus(CarriedWakeups, Peers):
    """Enter it to begin. A broker that is away keeps nobody from anything: it is tried again for ever."""

    def __init__(self, url: str, *, replica: int, identity: str, company: Company) -> None:
        """`url`: one or more, separated by commas. `identity`: of the installation; brokers may be shared."""
        super().__init__(replica, company)
        self._urls = [part.strip() for part in url.split(",")]
        self._hints = f"unbroken.{identity}.hints"
        self._to = f"unbroken.{identity}.to"
        self._connection: BrokerConnection | None = None
        self._connected = asyncio.Event()
        self._messages: deque[tuple[int, bytes]] = deque()
        self._waiting_bytes = 0
        self._on_message: list[Callable[[bytes], None]] = []
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._connect_forever()), asyncio.create_task(self._publish_forever())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What waits to be told gets a second; sessions that were just given back are among it."""
        with suppress(*TROUBLE):
            async with asyncio.timeout(LAST_HINTS_S):
                if self._connection is not None:
                    await self._publish(self._connection)
                    await self._connection.flush()
        self._closing = True
        await until_ended(self._tasks)

    @property
    def reachable(self) -> bool:
        return self._connection is not None and self._connection.alive

    def send(self, replica: int, message: bytes) -> None:
        assert len(message) <= MAX_MESSAGE_BYTES, f"a message of {len(message)} bytes; the limit is {MAX_MESSAGE_BYTES}"
        if not self.reachable or self._waiting_bytes + len(message) > WAITING_BYTES:
            self.dropped += 1
            return
        self._messages.append((replica, message))
        self._waiting_bytes += len(message)
        self._more.set()

    def receive(self, on_message: Callable[[bytes], None]) -> None:
        self._on_message.append(on_message)

    async def _publish_forever(self) -> None:
        while not self._closing:
            await self._connected.wait()
            await self._more.wait()
            connection = self._connection
            if connection is not None:
                try:
                    await self._publish(connection)
                except Exception as error:  # noqa: BLE001 (a defect of the library's must not be the bus's end)
                    log.log(logging.DEBUG if isinstance(error, TROUBLE) else logging.ERROR, "not published: %r", error)
                    connection.give_up()
                    if self._connection is connection:  # else another has taken its place
                        self._connected.clear()

    async def _publish(self, connection: BrokerConnection) -> None:
        while self._more.is_set():
            taken = self.take(HINTS_BYTES)
            if taken.hints:
                try:
                    await connection.publish(self._hints, taken.payload)
                except BaseException:
                    self.give_back(taken)
                    raise
            while self._messages:
                replica, message = self._messages.popleft()
                self._waiting_bytes -= len(message)
                if len(message) > connection.most_bytes:
                    self.dropped += 1
                    log.warning("the broker's max_payload of %d bytes is too little", connection.most_bytes)
                else:
                    await connection.publish(f"{self._to}.{replica}", message)

    async def _connect_forever(self) -> None:
        where = ", ".join(urlsplit(url).netloc.rpartition("@")[2] for url in self._urls)
        pause_s, longest_s = PAUSES_S
        told = False
        while not self._closing:
            connection = BrokerConnection(self._urls, f"unbroken-{self.replica}")
            try:
                await connection.open({self._hints: self.heard, f"{self._to}.{self.replica}": self._take_message})
                await connection.publish(self._hints, self.take(0).payload)
                log.info("the broker at %s carries hints and messages", where)
                told, pause_s = False, PAUSES_S[0]
                self._connection = connection
                self._connected.set()
                await connection.until_lost()
                log.warning("the broker at %s is lost; until it is back, polls find what hints would have told", where)
            except TROUBLE as error:
                log.log(logging.DEBUG if told else logging.WARNING, "no broker at %s, trying again: %s", where, error)
                told = True
            except Exception:
                log.exception("the bus failed; it begins anew")
            finally:
                self._connection = None
                self._connected.clear()
                self._messages.clear()
                self._waiting_bytes = 0
                await connection.close()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)

    def _take_message(self, message: bytes) -> None:
        for on_message in self._on_message:
            on_message(message)
