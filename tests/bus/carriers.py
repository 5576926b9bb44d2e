"""The carriers under contract. Each can be cut, and joined by replicas that note what they hear."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.bus.nats_server import NatsServer
from tests.end_to_end.proxy import Proxy
from unbroken.adapters.carried_hints import Company
from unbroken.adapters.in_process.hub import Hub
from unbroken.adapters.in_process.wakeups import NoPeers
from unbroken.adapters.nats.bus import NatsBus
from unbroken.adapters.postgres.hints import PostgresHints
from unbroken.domain.ports.peers import Peers
from unbroken.domain.ports.wakeups import Wakeups

IDENTITY: Final = "0123456789abcdef"


class Side:
    """One replica, and what it hears."""

    def __init__(self, replica: int, wakeups: Wakeups, peers: Peers) -> None:
        self.replica = replica
        self.wakeups = wakeups
        self.peers = peers
        self.hints: list[str] = []
        self.overheard: list[tuple[str, bool]] = []
        self.messages: list[bytes] = []
        wakeups.listen(self.hints.append, lambda thread_id, free: self.overheard.append((thread_id, free)))
        peers.receive(self.messages.append)

    def heard_of(self, thread_id: str) -> bool:
        return any(heard == thread_id for heard, _ in self.overheard)


class Carrier(ABC):
    carries_messages = True

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self._numbers = iter(range(1, 100))

    async def join(self, *, identity: str = IDENTITY, company: Company | None = None) -> Side:
        """A replica that hears and is heard when this returns."""
        return await self._join(next(self._numbers), identity, company or Company())

    async def pair(self) -> tuple[Side, Side]:
        one, other = await self.join(), await self.join()
        await self.meet(one, other)
        return one, other

    async def meet(self, one: Side, other: Side, name: str = "met") -> None:
        """Until each hears the other."""

        def met() -> bool:
            one.wakeups.announce(name)
            other.wakeups.announce(name)
            return one.heard_of(name) and other.heard_of(name)

        await eventually(met)

    @abstractmethod
    async def _join(self, replica: int, identity: str, company: Company) -> Side: ...

    @abstractmethod
    async def cut(self) -> None:
        """Nothing gets through any more, until it is mended."""

    @abstractmethod
    async def mend(self) -> None: ...

    @abstractmethod
    def connections(self) -> int:
        """That are open now."""


class HubCarrier(Carrier):
    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub()
        self._carry = self.hub.carry

    async def _join(self, replica: int, identity: str, company: Company) -> Side:
        member = self.hub.join(replica)
        self.stack.callback(member.leave)
        return Side(replica, member, member)

    async def cut(self) -> None:
        self.hub.carry = lambda deliver: None

    async def mend(self) -> None:
        self.hub.carry = self._carry

    def connections(self) -> int:
        return len(self.hub.members)


class Barrier(Proxy):
    """A proxy that can also refuse, or let everything hang."""

    shut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.shut:
            writer.transport.abort()
        else:
            await super()._accept(reader, writer)

    @property
    def connections(self) -> int:
        return len(self._open) // 2


class BehindABarrier(Carrier):
    barrier: Barrier

    async def cut(self) -> None:
        self.barrier.shut = True
        self.barrier.cut()

    async def mend(self) -> None:
        self.barrier.shut = False

    def connections(self) -> int:
        return self.barrier.connections


class PostgresCarrier(BehindABarrier):
    carries_messages = False

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    async def start(self) -> None:
        with psycopg.connect(self._url) as connection:
            row = connection.execute("SHOW port").fetchone()
        assert row is not None
        self.barrier = await self.stack.enter_async_context(Barrier(int(row[0])))
        self.url = self.by_tcp(self.barrier.port)

    def by_tcp(self, port: int) -> str:
        """The same database through another port."""
        parts = urlsplit(self._url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}", query=""))

    async def _join(self, replica: int, identity: str, company: Company) -> Side:
        hints = PostgresHints(self.url, replica=replica, identity=identity, company=company)
        return Side(replica, await self.stack.enter_async_context(hints), NoPeers())


class NatsCarrier(BehindABarrier):
    async def start(self) -> None:
        self.server = await self.stack.enter_async_context(NatsServer())
        self.barrier = await self.stack.enter_async_context(Barrier(self.server.port))
        self.url = f"nats://127.0.0.1:{self.barrier.port}"

    async def _join(self, replica: int, identity: str, company: Company) -> Side:
        bus = NatsBus(self.url, replica=replica, identity=identity, company=company)
        return Side(replica, *[await self.stack.enter_async_context(bus)] * 2)


async def eventually(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - whoever changes it is in another process
            await asyncio.sleep(0.01)
