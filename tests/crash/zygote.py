"""The tests' end of `points_server`: servers ordered, their deaths awaited."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec
from msgspec import Struct

from tests.crash.point_play import TRIES
from tests.crash.points_server import Order
from tests.end_to_end.server import AGENTS, COMMIT, GRAPHS, environment

SETTINGS: Final = {
    "UNBROKEN_AGENTS": ",".join(f"{name}={GRAPHS / where}" for name, where in AGENTS.items()),
    "UNBROKEN_AGENT_COMMIT": COMMIT,
    "UNBROKEN_LEASE_TTL_S": "1.0",
    "UNBROKEN_HEARTBEAT_S": "0.3",
    "UNBROKEN_RECOVERY_POLL_S": "0.3",
    "UNBROKEN_RETRY_BACKOFF_S": "0.05",
    "UNBROKEN_RETRY_MAX_BACKOFF_S": "0.2",
    "UNBROKEN_MAX_TRIES": str(TRIES),
    "UNBROKEN_EFFECT_POLL_S": "0.2",
    "UNBROKEN_EFFECT_CLAIM_S": "1.0",
    "UNBROKEN_TIMER_POLL_S": "0.2",
    "UNBROKEN_ACK_FLUSH_S": "0.1",
    "UNBROKEN_DRAIN_S": "0.5",
    "UNBROKEN_POOL_SIZE": "3",
    "UNBROKEN_LOG_LEVEL": "warning",
}
"""A lease so short that a takeover takes little more than a second; one kill costs a message one of its tries."""
LEASE: Final = ("UNBROKEN_LEASE_TTL_S", "UNBROKEN_HEARTBEAT_S", "UNBROKEN_RECOVERY_POLL_S")
PRODUCTS: Final = {name: value for name, value in SETTINGS.items() if name not in LEASE}
"""The same with the product's own lease, and the polls that go with it."""
START_LIMIT_S: Final = 180.0
READ_LIMIT_BYTES: Final = 1 << 20


class Death(Struct, frozen=True):
    code: int
    at: float
    """Seconds since 1970."""


class Zygote:
    """`async with Zygote(log) as zygote:` has everything imported."""

    def __init__(self, log: Path, settings: Mapping[str, str] = SETTINGS) -> None:
        self._log = log
        self._settings = settings
        self._numbers = count(1)
        self._deaths: dict[int, asyncio.Future[Death]] = {}
        self._starts: dict[int, asyncio.Future[None]] = {}
        self._stalls: dict[int, asyncio.Future[float]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._file = self._log.open("ab")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.crash.points_server",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._file,
            env=environment(**self._settings),
            limit=READ_LIMIT_BYTES,
        )
        async with asyncio.timeout(START_LIMIT_S):
            first = await self._out.readline()
        assert first, f"the servers' process ended: {self._log.read_text(errors='replace')[-3000:]}"
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        if self._listening is not None:
            await self._listening
        if self._file is not None:
            self._file.close()

    def order(self, **order: Any) -> int:
        """Have a server forked; returns its number, by which it can be killed from now on. `order`: what `Order` has,
        but for its number."""
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        self._deaths[number], self._starts[number] = loop.create_future(), loop.create_future()
        self._stalls[number] = loop.create_future()
        self._say(msgspec.to_builtins(msgspec.convert({"serve": number, **order}, Order)))
        return number

    async def started(self, number: int) -> None:
        """Waits until its port can be connected to."""
        await asyncio.shield(self._starts[number])  # who waits may be cancelled, and it starts all the same

    def kill(self, number: int) -> None:
        """`kill -9`, unless it is dead already."""
        self._say({"kill": number})

    def stop(self, number: int) -> None:
        """Ask it to stop, as an operator would."""
        self._say({"stop": number})

    def thaw(self, number: int) -> None:
        """Let it go on, if it stands still."""
        self._say({"thaw": number})

    async def fall(self, number: int) -> Death | None:
        """When and how it ended; None: it stands still. Waits for the one or the other."""
        death = self._deaths[number]
        either: set[asyncio.Future[Any]] = {death, self._stalls[number]}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return death.result() if death.done() else None

    def stalled_at(self, number: int) -> float:
        return self._stalls[number].result()

    async def death(self, number: int) -> Death:
        """When and how it ended; waits for that."""
        return await asyncio.shield(self._deaths[number])

    def dead(self, number: int) -> bool:
        return self._deaths[number].done()

    @property
    def _out(self) -> asyncio.StreamReader:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout

    def _say(self, told: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told).encode() + b"\n")

    async def _listen(self) -> None:
        try:
            while line := await self._out.readline():
                self._hear(json.loads(line))
        finally:
            waiting: list[asyncio.Future[Any]] = [*self._starts.values(), *self._deaths.values()]
            for future in waiting:
                if not future.done():
                    future.set_exception(RuntimeError("the process that forks the servers is not heard any more"))

    def _hear(self, told: Mapping[str, Any]) -> None:
        if "started" in told:
            self._starts[told["started"]].set_result(None)
        elif "stalled" in told:
            self._stalls[told["stalled"]].set_result(told["at"])
        elif "ended" in told:
            self._deaths[told["ended"]].set_result(Death(told["code"], told["at"]))
