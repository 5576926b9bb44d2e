"""One run: a fresh server, the load against it, and what both of them found."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from benchmarks.measure import Counters, LogWritten, counters, cpu_s, log_position, log_written
from benchmarks.servers import Server, server

CONNECTED_S = 0.5
"""What a server gets to be done with connections it has taken."""
SETTLE_S = 1.2
"""Delivery marks are written once a second: the last ones belong to the run."""
LOAD_LIMIT_S = 600.0
LONGEST_LINE = 1 << 30
"""The figures of a load are one line, with an entry for each token."""
SHAPES = {"no delay": (0.0, 0.0), "streaming": (0.1, 0.01)}
"""Pauses of the model in seconds: before the first token, and between two."""


@dataclass(frozen=True)
class Setting:
    shape: str
    tokens: int
    sessions: int
    turns: int
    """Of each session."""

    @property
    def environment(self) -> dict[str, str]:
        first_s, gap_s = SHAPES[self.shape]
        return {"TOKENS": str(self.tokens), "FIRST_S": str(first_s), "GAP_S": str(gap_s)}


@dataclass(frozen=True)
class Place:
    """Where runs happen."""

    reader_url: str
    """A database that no server uses, to read PostgreSQL's counters from."""
    database_urls: Mapping[str, str]
    """A database for each kind of server, so that none meets another's rows or tables."""
    postgres_pid: int
    programs: Path
    """PostgreSQL's."""
    folder: Path
    """For data that need not last."""
    logs: Path
    server_cores: frozenset[int]
    """Empty: wherever the system likes."""
    failures: list[str] = field(default_factory=list)
    """What could not be measured, and why; whatever else there is to measure goes on."""

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """One measurement that may fail without ending the others."""
        try:
            yield
        except RuntimeError as error:
            self.failures.append(str(error))
            print(f"FAILED: {error}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Run:
    figures: dict[str, Any]
    """What the load recorded; without turns, of an idle run."""
    counted: Counters
    """From before the server's start to after its end, like the next."""
    log: LogWritten
    server_cpu_s: float
    postgres_cpu_s: float


class Load:
    """The load's process, connected and waiting."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._orders = process.stdin
        self._output = process.stdout

    async def run(self) -> dict[str, Any]:
        """Run the turns. Raises RuntimeError if one did not end as it must; stderr says how."""
        self._orders.write(b"go\n")
        figures: dict[str, Any] = json.loads(await self.said())
        return figures

    async def said(self) -> bytes:
        try:
            line = await asyncio.wait_for(self._output.readline(), LOAD_LIMIT_S)
        except TimeoutError:
            raise RuntimeError("the load took too long") from None
        if not line:
            raise RuntimeError("the load ended early")
        return line

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def connected(target: Server, setting: Setting) -> AsyncIterator[Load]:
    numbers = [str(number) for number in (setting.sessions, setting.turns, setting.tokens)]
    command = [sys.executable, "-m", "benchmarks.load", target.url, *numbers, target.protocol]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, limit=LONGEST_LINE, preexec_fn=_without_interrupts
    )
    load = Load(process)
    try:
        await load.said()
        yield load
    finally:
        await load.end()


def _without_interrupts() -> None:
    """A terminal's Ctrl-C goes to everyone; only the one that started everyone shall answer it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


async def run(kind: str, setting: Setting, place: Place, *, idle_s: float | None = None) -> Run:
    """Against a server of this kind; `idle_s`: only connect, and be idle for so long.

    Raises RuntimeError if the server or the load failed.
    """
    url, log = place.database_urls[kind], place.logs / f"{kind}.log"
    database = urlsplit(url).path.removeprefix("/")
    reader = await asyncpg.connect(place.reader_url)
    try:
        before, begin = await counters(reader, database), await log_position(reader)
        async with (
            server(kind, url, setting.environment, log, place.server_cores) as target,
            connected(target, setting) as load,
        ):
            await asyncio.sleep(CONNECTED_S)
            server_cpu_s, postgres_cpu_s = cpu_s(target.pid), cpu_s(place.postgres_pid)
            if idle_s is None:
                figures = await load.run()
            else:
                await asyncio.sleep(idle_s)
                figures = {}
            await asyncio.sleep(SETTLE_S)
            server_cpu_s = cpu_s(target.pid) - server_cpu_s
            postgres_cpu_s = cpu_s(place.postgres_pid) - postgres_cpu_s
        counted = (await counters(reader, database)).since(before)
        log_of_run = await log_written(reader, place.programs, begin, await log_position(reader))
    except RuntimeError as error:
        raise RuntimeError(f"{kind}, {setting}: {error}; the server's log is {log}") from None
    finally:
        await reader.close()
    return Run(figures, counted, log_of_run, server_cpu_s, postgres_cpu_s)
