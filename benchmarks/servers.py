"""The servers under test as processes of their own, each started fresh for each measurement."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

KINDS = ("direct-memory", "direct-postgres", "direct-exit", "unbroken")
READY_S = 60.0


@dataclass(frozen=True)
class Server:
    kind: str
    pid: int
    url: str

    @property
    def protocol(self) -> str:
        return "unbroken" if self.kind == "unbroken" else "direct"


@asynccontextmanager
async def server(kind: str, database_url: str, environment: dict[str, str], log: Path) -> AsyncIterator[Server]:
    """Start one of KINDS on a free port, and stop it at the end. Raises RuntimeError with its log's path."""
    port = _free_port()
    command = [sys.executable, "-m"]
    if kind == "unbroken":
        command += ["unbroken.entrypoints.cli", "serve", "--agent", "bench=benchmarks.graph:graph", "--port", str(port)]
    else:
        command += ["benchmarks.direct", kind.removeprefix("direct-"), str(port)]
    given = os.environ | environment | {"DATABASE_URL": database_url, "UNBROKEN_LOG_LEVEL": "warning"}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(*command, env=given, stdout=output, stderr=output)
    try:
        await _ready(process, port, log)
        path = "/api/chat/ws" if kind == "unbroken" else "/ws"
        yield Server(kind, process.pid, f"ws://127.0.0.1:{port}{path}")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    while loop.time() < deadline and process.returncode is None:
        try:
            await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/", timeout=2)
            return
        except OSError:
            await asyncio.sleep(0.1)
    raise RuntimeError(f"a server did not start; its log is {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
