"""`make bench`: interleaved rounds of every server on one PostgreSQL; figures, tables and plots go to `--out`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import hop, idle, kept, long, replicas, start, turns
from benchmarks.document import drawings, tables
from benchmarks.machine import cores, databases, open_as_many_sockets_as_allowed, open_folder, pin
from benchmarks.options import arguments
from benchmarks.report import Measurement
from benchmarks.runs import Place
from benchmarks.servers import KINDS
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.embedded_binaries import bundled_bin_dir
from unbroken.adapters.postgres.embedded_errors import EmbeddedError

SPARE_SOCKETS: Final = 200
Measure = Callable[[argparse.Namespace, Place, list[Any]], Awaitable[None]]
PARTS: Final[dict[str, tuple[Measure, type[Any]]]] = {
    "turns": (turns.measure, Measurement),
    "long": (long.measure, long.Window),
    "idle": (idle.measure, idle.Idle),
    "start": (start.measure, start.Start),
    "replicas": (replicas.measure, replicas.Several),
    "hop": (hop.measure, hop.Hop),
}


async def main(options: argparse.Namespace, measured: dict[str, list[Any]]) -> list[str]:
    """Fills `measured` row by row, so that whoever interrupts keeps what was measured until then. Returns what could
    not be measured."""
    if (most := open_as_many_sockets_as_allowed()) < max(*options.idle, *options.sessions) + SPARE_SOCKETS:
        print(f"this account may open {most} sockets in a process: ulimit -n", file=sys.stderr)
    others, server_cores = cores(pinned=not options.no_pin)
    pin(others)
    programs = options.pg_bin or bundled_bin_dir()
    logs = options.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with open_folder() as folder, EmbeddedPostgres(folder / "data", programs) as postgres:
        assert postgres.pid is not None
        urls = await databases(postgres.url, KINDS)
        place = Place(postgres.url, urls, postgres.pid, programs, folder, logs, server_cores)
        for part in options.parts:
            measure, _ = PARTS[part]
            with place.going_on():
                await measure(options, place, measured.setdefault(part, []))
    return place.failures


def keep(out: Path, measured: dict[str, list[Any]]) -> None:
    """What was measured joins what this folder has of earlier runs; tables and plots are of both."""
    for part, found in measured.items():
        if found:
            kept.add(out / f"{part}.json", PARTS[part][1], found)
    shown = "\n".join(tables(out))
    (out / "tables.md").write_text(shown + "\n", "utf-8")
    for name, drawing in drawings(out).items():
        (out / f"{name}.svg").write_text(drawing, "utf-8")
    print(shown)


if __name__ == "__main__":
    chosen, done = arguments(), dict[str, list[Any]]()
    try:
        failures = asyncio.run(main(chosen, done))
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, EmbeddedError) as error:
        sys.exit(f"benchmarks: {error}")
    finally:
        if any(done.values()):
            keep(chosen.out, done)
    if failures:
        sys.exit("benchmarks: " + "\nbenchmarks: ".join(failures))
