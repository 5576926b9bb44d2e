"""A server process under every attack at once, two well-behaved clients beside them, and what it cost."""

from __future__ import annotations

import asyncio
import json
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Final

import psutil
from msgspec import Struct

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.hostile.attacks import ATTACKS, STAY, End, Target
from tests.hostile.raw import Raw
from tests.hostile.slope import Sample

CENSUS: Final = Path(__file__).with_name("census.py")
AGENTS: Final = ("--agent", f"census={CENSUS}:graph")
STALL_S: Final = 5
TOGETHER: Final = 15
"""Of each kind of those that stay."""
TALKS: Final = 25
"""Messages in one thread: a conversation's length must not look like a leak."""
WARM_UP: Final = 0.1
"""Share of the time after which the server is asked for the first time what it has in use."""
REMEMBERED: Final = 1_100
"""Requests after which the framework's memory of queries, the last thousand of them, is full."""
CALM_S: Final = 90.0
"""Longest time after the last attack until the server has let go of everything: it pings every 20 s and waits 20 s."""
Attack = Callable[[Target], Awaitable[End]]


class InUse(Struct, frozen=True):
    """Of a server that nobody besieges any more, after so many attacks."""

    attacks: int
    c_bytes: float
    blocks: float


class Siege:
    def __init__(self, server: Server, *, seed: int, hold_s: float) -> None:
        self.ends: Counter[tuple[str, End]] = Counter()
        self.odd: list[str] = []
        """Ends that an attack must not have; faults that well-behaved clients saw."""
        self.latencies_s = array("d")
        """Of well-behaved clients' answers: from the message to its end."""
        self.resident: list[Sample] = []
        """(Seconds, bytes of the server process), one a second."""
        self.most_sockets = 0
        self.before: dict[str, int] = {}
        self.after: dict[str, int] = {}
        self.in_use: list[InUse] = []
        """In the calm after the first part, and after the second."""
        self._server = server
        self._process = psutil.Process(server.process.pid)
        self._random = Random(seed)
        self._target = Target(server.port, Random(seed), hold_s, ["shared-0"])
        self._over = asyncio.Event()
        self._said = Counter[str]()

    @property
    def attacks(self) -> int:
        return self.ends.total()

    async def last(self, seconds: float, told: Callable[[Siege], None] = lambda siege: None) -> None:
        """Attack for so long; after a tenth of it, and at the end, wait until the server has let go. `told` is called
        about every ten seconds."""
        for _ in range(2):  # the first one loads what every later one finds loaded
            self.before, _ = await self._census()
        await ask_often(self._server.port)
        for part in (WARM_UP, 1.0 - WARM_UP):
            self.resident.clear()
            await self._besiege(seconds * part, told)
            self.in_use.append(await self._calm())

    async def _besiege(self, seconds: float, told: Callable[[Siege], None]) -> None:
        self._over.clear()
        async with asyncio.TaskGroup() as group:
            friends = [group.create_task(self._befriend(name)) for name in ("alone", "shared")]
            watch = group.create_task(self._watch(told))
            lanes = [attack for attack in ATTACKS for _ in range(TOGETHER if attack in STAY else 1)]
            attackers = [group.create_task(self._repeat(attack)) for attack in lanes]
            await asyncio.sleep(seconds)
            await self._each_once()
            for attacker in attackers:
                attacker.cancel()
            await asyncio.gather(*attackers, return_exceptions=True)
            self._over.set()
            await asyncio.gather(*friends)
            watch.cancel()

    async def _repeat(self, attack: Attack) -> None:
        await asyncio.sleep(self._random.random())
        while True:
            try:
                end = await attack(self._target)
            except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                end = None
            self.ends[attack.__name__, end] += 1
            if end not in ATTACKS[attack]:
                self.odd.append(f"{attack.__name__} ended with {end}")
            await asyncio.sleep(self._random.random() * 0.2)

    async def _each_once(self) -> None:
        """Until every kind of attack has come to an end once: before, nothing is warm. On a busy machine that takes a
        while; an attack that never does is missed in `ends`."""
        deadline = time.monotonic() + CALM_S
        while {attack for attack, _ in self.ends} != {attack.__name__ for attack in ATTACKS}:
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.1)

    async def _befriend(self, name: str) -> None:
        """One message after another, each answered before the next; a new thread every now and then."""
        while not self._over.is_set():
            thread = f"{name}-{self._said[name]}"
            if name == "shared":
                self._target.beside.append(thread)
            async with Client(self._server.url, thread=thread, stays=True) as client:
                for _ in range(TALKS):
                    if self._over.is_set():
                        break
                    began = time.monotonic()
                    request = await client.say("words=3 pause=0.001")
                    (end,) = await client.answered(request)
                    self.latencies_s.append(time.monotonic() - began)
                    self._said[name] += 1
                    if end["type"] != "final":
                        self.odd.append(f"{name} was answered {end}")
                    await asyncio.sleep(0.1)
            if client.view.faults or client.connected != 1:
                self.odd.append(f"{name}: {client.connected} connections, {client.closes}, {client.view.faults[:3]}")

    async def _watch(self, told: Callable[[Siege], None]) -> None:
        began = time.monotonic()
        while True:
            self.resident.append((time.monotonic() - began, self._process.memory_info().rss))
            self.most_sockets = max(self.most_sockets, self._sockets())
            if len(self.resident) % 10 == 0:
                told(self)
            await asyncio.sleep(1.0)

    async def _calm(self) -> InUse:
        """Raises AssertionError if the server does not let go."""
        deadline = time.monotonic() + CALM_S
        while left := self._sockets():
            assert time.monotonic() < deadline, f"{left} sockets are still open"
            await asyncio.sleep(0.5)
        while True:
            self.after, in_use = await self._census()
            if self.after == self.before:
                return in_use
            assert time.monotonic() < deadline, f"held before: {self.before}, afterwards: {self.after}"
            await asyncio.sleep(1.0)

    def _sockets(self) -> int:
        """Connections to the server's port that it has not let go of."""
        ours = (c for c in self._process.net_connections("tcp") if c.laddr.port == self._server.port)
        return sum(1 for c in ours if c.status != psutil.CONN_LISTEN)

    async def _census(self) -> tuple[dict[str, int], InUse]:
        async with Client(self._server.url, thread=f"census-{time.monotonic_ns()}", agent="census") as client:
            (end,) = await client.answered(await client.say("what do you hold?"))
        told = json.loads(end["message"])
        return told["held"], InUse(self.attacks, told["c_bytes"], told["blocks"])

    def complaints(self) -> list[str]:
        """Whatever proves the server wrong; empty after a siege that was weathered."""
        said = self._server.said()
        errors = [line for line in said.splitlines() if "Traceback" in line or "[error" in line or "[critical" in line]
        dead = [] if self._server.process.poll() is None else ["the server has ended"]
        return [*dead, *self.odd[:10], *errors[:10]]


async def ask_often(port: int) -> None:
    """Ask things that are asked only once, until everything that remembers such is full."""
    asked = b"GET /api/threads?asked=%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
    last = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
    async with await Raw.dial(port) as raw:
        raw.writer.write(b"".join(asked % (number, port) for number in range(REMEMBERED)) + last % port)
        while await raw.some(60):
            pass
