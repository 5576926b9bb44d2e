"""Part `start`: how long until a server takes work, warm, and how much of that Python itself needs to import it.

Warm: bytecode is compiled and the database migrated; `unbroken-embedded` starts its own PostgreSQL on its own data.
Imports are those that the server makes until it is ready, made by an interpreter that does nothing else, in the same
round.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import pin
from benchmarks.runs import Place
from benchmarks.servers import Server, server
from benchmarks.turns import turned

EMBEDDED: Final = "unbroken-embedded"
KINDS: Final = ("direct-memory", "direct-postgres", "unbroken", EMBEDDED)
IMPORTED: Final = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)
"""What Python says under PYTHONPROFILEIMPORTTIME, a module a line."""
IMPORT_ALL: Final = """
import importlib, sys, time
for name in sys.stdin.read().split():
    try:
        importlib.import_module(name)
    except ImportError:  # some are tried and missing in the server, too
        pass
print(time.process_time(), flush=True)
"""


@dataclass(frozen=True)
class Start:
    """In seconds; CPU is that of the process until then, without PostgreSQL's."""

    kind: str
    round: int
    ready_s: float
    ready_cpu_s: float
    imports_s: float
    imports_cpu_s: float

    @property
    def cell(self) -> str:
        return self.kind

    @property
    def own_s(self) -> float:
        """What the server needs beyond its imports."""
        return self.ready_s - self.imports_s

    def line(self) -> str:
        return (
            f"{self.kind:18} ready after {self.ready_s:.2f} s ({self.ready_cpu_s:.2f} of CPU), of that imports "
            f"{self.imports_s:.2f} s ({self.imports_cpu_s:.2f})"
        )


async def measure(options: argparse.Namespace, place: Place, into: list[Start]) -> None:
    modules = {kind: await _modules(kind, place) for kind in KINDS}
    for number in range(1, options.rounds + 1):
        for kind in turned(KINDS, number):
            with place.going_on():
                imports_s, imports_cpu_s = await _imports(modules[kind], place.server_cores)
                found = await _started(kind, place, {})
                into.append(Start(kind, number, found.ready_s, found.ready_cpu_s, imports_s, imports_cpu_s))
                print(f"start, round {number}/{options.rounds}  {into[-1].line()}", file=sys.stderr, flush=True)


async def _started(kind: str, place: Place, environment: dict[str, str], log: Path | None = None) -> Server:
    """A server that was ready, and has been stopped again."""
    log = log or place.logs / f"start-{kind}.log"
    url = "" if kind == EMBEDDED else place.database_urls[kind]
    given = {"UNBROKEN_DATA_DIR": str(place.folder / "embedded"), **environment}
    async with server(kind.removesuffix("-embedded"), url, given, log, place.server_cores) as target:
        return target


async def _modules(kind: str, place: Place) -> list[str]:
    """That the server imports until it is ready; the first start, which makes tables and compiles, is not this one."""
    await _started(kind, place, {})
    log = place.logs / f"imports-{kind}.log"
    log.unlink(missing_ok=True)
    await _started(kind, place, {"PYTHONPROFILEIMPORTTIME": "1"}, log)
    return IMPORTED.findall(log.read_text("utf-8", "replace"))


async def _imports(modules: list[str], cores: frozenset[int]) -> tuple[float, float]:
    """(seconds, CPU seconds) of an interpreter from its start until it has them all."""
    pipe = asyncio.subprocess.PIPE
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IMPORT_ALL, stdin=pipe, stdout=pipe, preexec_fn=lambda: pin(set(cores))
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n".join(modules).encode())
    process.stdin.close()
    line = await process.stdout.readline()
    took_s = time.perf_counter() - began
    await process.wait()
    if not line:
        raise RuntimeError("an interpreter could not import what a server imports")
    return took_s, float(line)
