"""What goes wrong, at random moments. One server is never killed, so that its memory can be followed."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from random import Random
from typing import Final

from tests.end_to_end.proxy import Proxy
from tests.end_to_end.server import Server
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

MEAN_PAUSE_S: Final = 6.0
KINDS: Final = ("kill", "kill", "deploy", "stall", "cut", "cut", "cut", "sever", "sever", "restart")
STALLS_S: Final = (0.5, 2.0, 6.0)
"""The last one is longer than the lease."""


class Nemesis:
    def __init__(
        self, random: Random, mortal: Server, *, sockets: list[Proxy], wires: list[Proxy], database: EmbeddedPostgres
    ) -> None:
        """`sockets`: between clients and servers; `wires`: between servers and the database."""
        self.struck: Counter[str] = Counter()
        self._random = random
        self._mortal = mortal
        self._sockets = sockets
        self._wires = wires
        self._database = database

    async def forever(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / MEAN_PAUSE_S))
            kind = self._random.choice(KINDS)
            # What has begun is brought to its end: a server that was killed is started again.
            await asyncio.shield(asyncio.ensure_future(self._strike(kind)))
            self.struck[kind] += 1

    async def _strike(self, kind: str) -> None:
        match kind:
            case "kill":
                await asyncio.to_thread(self._mortal.kill)
                await self._start()
            case "deploy":
                await asyncio.to_thread(self._mortal.stop)
                await self._start()
            case "stall":
                self._mortal.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(self._random.choice(STALLS_S))
                self._mortal.process.send_signal(signal.SIGCONT)
            case "cut":
                self._random.choice(self._sockets).cut()
            case "sever":
                self._random.choice(self._wires).cut()
            case "restart":
                await asyncio.to_thread(self._database.restart, immediate=True)

    async def _start(self) -> None:
        self._mortal.start()
        await asyncio.to_thread(self._mortal.wait_ready)
