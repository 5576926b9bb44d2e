"""Two servers over one database, people at both, a nemesis, and a sample of memory every second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Final

import psutil
from msgspec import Struct

from tests.checker.check import violations
from tests.checker.history import Tables
from tests.checker.sources import tables_of_postgres
from tests.end_to_end.proxy import Proxy
from tests.end_to_end.server import Server
from tests.hostile.siege import ask_often
from tests.hostile.slope import Sample
from tests.soak.nemesis import Nemesis
from tests.soak.people import Latency, Person
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

SETTINGS: Final = {
    "UNBROKEN_LEASE_TTL_S": "3",
    "UNBROKEN_HEARTBEAT_S": "1",
    "UNBROKEN_MAX_TRIES": "50",  # chance may hit one message often
    "UNBROKEN_RETRY_BACKOFF_S": "0.1",
    "UNBROKEN_RETRY_MAX_BACKOFF_S": "1",
    "UNBROKEN_LOG_LEVEL": "warning",
    "UNBROKEN_HEAD_CACHE_BYTES": "300000",  # is full soon, so that it does not look like a leak
}
Tell = Callable[[str], None]


class Outcome(Struct):
    struck: dict[str, int]
    messages: int
    threads: int
    attempts: int
    broken: list[str]
    latencies: list[Latency]
    steady_bytes: list[Sample]
    """(Seconds from the beginning, resident bytes of the server that is never killed)."""
    began_at: float
    """Seconds since 1970."""


class Soak:
    def __init__(self, seed: int, folder: Path, *, people: int, tell: Tell) -> None:
        self._random = Random(seed)
        self._folder = folder
        self._count = people
        self._tell = tell
        self._people: list[Person] = []
        self._samples: list[Sample] = []
        self._began_at = time.time()

    async def last(self, seconds: float) -> Outcome:
        database = EmbeddedPostgres(self._folder / "database")
        try:
            await asyncio.to_thread(database.start)
            async with AsyncExitStack() as stack:
                nemesis, tables = await self._under_way(stack, database, seconds)
        finally:
            await asyncio.to_thread(database.stop, immediate=True)
        return Outcome(
            struck=dict(nemesis.struck),
            messages=sum(person.messages for person in self._people),
            threads=len(tables.sessions),
            attempts=sum(session.run for session in tables.sessions),
            broken=list(self._broken(tables)),
            latencies=[latency for person in self._people for latency in person.latencies()],
            steady_bytes=self._samples,
            began_at=self._began_at,
        )

    async def _under_way(
        self, stack: AsyncExitStack, database: EmbeddedPostgres, seconds: float
    ) -> tuple[Nemesis, Tables]:
        wires, servers, sockets = [], [], []
        for name in ("steady", "mortal"):
            wire = await stack.enter_async_context(Proxy(database.port))
            folder = self._folder / name
            folder.mkdir()
            url = database.tcp_url.replace(f":{database.port}/", f":{wire.port}/")
            server = Server(folder, database_url=url, environment=SETTINGS)
            server.start()
            stack.push_async_callback(asyncio.to_thread, server.stop)
            await asyncio.to_thread(server.wait_ready)
            wires.append(wire)
            servers.append(server)
            sockets.append(await stack.enter_async_context(Proxy(server.port)))
        urls = [f"ws://127.0.0.1:{proxy.port}" for proxy in sockets]
        steady, mortal = servers
        await ask_often(steady.port)
        self._began_at = time.time()
        over = asyncio.Event()
        self._people = [
            Person(f"p{number}", urls, self._folder, Random(self._random.getrandbits(64)))
            for number in range(self._count)
        ]
        nemesis = Nemesis(self._random, mortal, sockets=sockets, wires=wires, database=database)
        async with asyncio.TaskGroup() as group:
            talking = [group.create_task(person.talk(over)) for person in self._people]
            striking = group.create_task(nemesis.forever())
            watching = group.create_task(self._watch(psutil.Process(steady.process.pid), nemesis))
            await asyncio.wait({*talking, striking, watching}, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            striking.cancel()
            over.set()
            await asyncio.gather(*talking)
            watching.cancel()
        await asyncio.sleep(1.5)  # effects and marks that are owed without anybody waiting for them
        return nemesis, await tables_of_postgres(database.url)

    async def _watch(self, process: psutil.Process, nemesis: Nemesis) -> None:
        while True:
            second = time.time() - self._began_at
            self._samples.append((second, float(process.memory_info().rss)))
            if int(second) % 10 == 0:
                said = sum(person.messages for person in self._people)
                mib = self._samples[-1][1] / 2**20
                self._tell(f"{second:6.0f} s  {said:6,} messages  {nemesis.struck.total():4} faults  {mib:.1f} MiB")
            await asyncio.sleep(1.0)

    def _broken(self, tables: Tables) -> list[str]:
        """Thread by thread: the traces of all of them would not fit into memory."""
        rows = by_thread(tables)
        nothing = Tables([], [], [])
        return [
            str(violation)
            for person in self._people
            for thread in person.threads
            for violation in violations(person.sockets(thread), rows.get(thread, nothing))
        ]


def by_thread(tables: Tables) -> dict[str, Tables]:
    rows: dict[str, Tables] = {row.thread_id: Tables([row], [], []) for row in tables.sessions}
    for event in tables.events:
        rows[event.thread_id].events.append(event)
    for effect in tables.effects:
        rows[effect.thread_id].effects.append(effect)
    for timer in tables.timers:
        rows[timer.thread_id].timers.append(timer)
    return rows
