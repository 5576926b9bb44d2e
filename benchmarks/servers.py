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

from benchmarks.machine import pin
from benchmarks.measure import cpu_s

KINDS = ("direct-memory", "direct-postgres", "direct-exit", "unbroken")
READY_S = 120.0
READY_POLL_S = 0.01
STOPPED_S = 15.0
SETTINGS = {"UNBROKEN_LOG_LEVEL": "warning", "UNBROKEN_FRAMES_PER_S": "10000"}
"""Nobody types as fast as the load does when it is alone."""


@dataclass(frozen=True)
class Server:
    kind: str
    pid: int
    url: str
    ready_s: float
    """From its start to its first answer over HTTP; Unbroken's says that it would take new work."""
    ready_cpu_s: float
    """CPU it took until then."""

    @property
    def protocol(self) -> str:
        return "unbroken" if self.kind == "unbroken" else "direct"


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
    `database_url`: empty: none, or Unbroken's own in its data directory. `checkout`: of another version, with an
    environment of its own in `.venv`; None: this one.

    Raises RuntimeError with its log's path.
    """
    port = _free_port()
    command = [str(checkout / ".venv/bin/python") if checkout else sys.executable, "-m"]
    if kind == "unbroken":
        command += ["unbroken.entrypoints.cli", "serve", "--agent", "bench=benchmarks.graph:graph", "--port", str(port)]
    else:
        command += ["benchmarks.direct", kind.removeprefix("direct-"), str(port)]
    given = {**os.environ, **SETTINGS, **environment, "DATABASE_URL": database_url}
    began = time.perf_counter()
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=given, stdout=output, stderr=output, cwd=checkout, preexec_fn=lambda: pin(set(cores))
        )
    try:
        ready_path, path = ("/health/ready", "/api/chat/ws") if kind == "unbroken" else ("/", "/ws")
        await _ready(process, f"http://127.0.0.1:{port}{ready_path}", log)
        ready_s, ready_cpu_s = time.perf_counter() - began, cpu_s(process.pid)
        yield Server(kind, process.pid, f"ws://127.0.0.1:{port}{path}", ready_s, ready_cpu_s)
    finally:
        await _stop(process)


async def _ready(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    while loop.time() < deadline and process.returncode is None:
        try:
            await asyncio.to_thread(_ask, url)
            return
        except OSError:
            await asyncio.sleep(READY_POLL_S)
    raise RuntimeError(f"a server did not start; its log is {log}")


def _ask(url: str) -> None:
    with urllib.request.urlopen(url, timeout=READY_S) as answer:
        answer.read()


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
