"""The servers under test as processes of their own, each started fresh for each measurement."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

KINDS = ("direct-memory", "direct-postgres", "direct-exit", "unbroken")
READY_S = 60.0
STOPPED_S = 15.0


@dataclass(frozen=True)
class Server:
    kind: str
    pid: int
    url: str
    ready_s: float
    """From its start to its first answer over HTTP."""

    @property
    def protocol(self) -> str:
        return "unbroken" if self.kind == "unbroken" else "direct"


def pin(cores: set[int]) -> None:
    """Keep this process, and what it starts, to `cores`; where the system cannot, or they are none, do nothing."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


@asynccontextmanager
async def server(
    kind: str,
    database_url: str,
    environment: Mapping[str, str],
    log: Path,
    cores: frozenset[int] = frozenset(),
    checkout: Path | None = None,
) -> AsyncIterator[Server]:
    """Start one of KINDS on a free port of loopback and on `cores`; at the end stop it, the hard way if need be.
    `checkout`: of another version, with an environment of its own in `.venv`; None: this one.

    Raises RuntimeError with its log's path.
    """
    port = _free_port()
    command = [str(checkout / ".venv/bin/python") if checkout else sys.executable, "-m"]
    if kind == "unbroken":
        command += ["unbroken.entrypoints.cli", "serve", "--agent", "bench=benchmarks.graph:graph", "--port", str(port)]
    else:
        command += ["benchmarks.direct", kind.removeprefix("direct-"), str(port)]
    given = os.environ | environment | {"DATABASE_URL": database_url, "UNBROKEN_LOG_LEVEL": "warning"}
    began = time.perf_counter()
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=given, stdout=output, stderr=output, cwd=checkout, preexec_fn=lambda: pin(set(cores))
        )
    try:
        await _ready(process, port, log)
        path = "/api/chat/ws" if kind == "unbroken" else "/ws"
        yield Server(kind, process.pid, f"ws://127.0.0.1:{port}{path}", time.perf_counter() - began)
    finally:
        await _stop(process)


async def _ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    while loop.time() < deadline and process.returncode is None:
        try:
            await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/", timeout=2)
            return
        except OSError:
            await asyncio.sleep(0.05)
    raise RuntimeError(f"a server did not start; its log is {log}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOPPED_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
