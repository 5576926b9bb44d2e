"""`make bench`: interleaved rounds of every server, a table of medians and ratios, raw figures kept as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.plots import PLOTS, plot
from benchmarks.report import Measurement, table
from benchmarks.runs import SHAPES, Place, Run, Setting, run
from benchmarks.servers import KINDS, pin
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.embedded_errors import EmbeddedError

TURNS = {1: 200, 10: 50, 100: 10, 1000: 3}
TURNS_STREAMING = 5
IDLE_LIMIT_S = 60.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of every server (%(default)s)")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10, 100], help="concurrent sessions")
    parser.add_argument("--tokens", type=int, nargs="+", default=[64], help="tokens a turn")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["no delay"], help="pauses of the model")
    parser.add_argument("--servers", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--turns", type=int, help="turns a session; absent: as many as make a run of a few seconds")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for figures and plots")
    parser.add_argument("--pg-bin", type=Path, help="PostgreSQL's programs; absent: the bundled version")
    parser.add_argument("--no-pin", action="store_true", help="let servers and the rest share all cores")
    parser.add_argument("--quick", action="store_true", help="two rounds, at most ten sessions")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds = min(chosen.rounds, 2)
        chosen.sessions = [number for number in chosen.sessions if number <= 10] or chosen.sessions[:1]
    return chosen


def settings(options: argparse.Namespace) -> Iterable[Setting]:
    for shape in options.shapes:
        for tokens in options.tokens:
            for sessions in options.sessions:
                turns = options.turns or (TURNS_STREAMING if shape == "streaming" else TURNS.get(sessions, 10))
                yield Setting(shape, tokens, sessions, turns)


def cores(options: argparse.Namespace) -> tuple[set[int], frozenset[int]]:
    """(of the load and PostgreSQL, of the servers). A server is one busy thread: give each the same core to itself."""
    if options.no_pin or not hasattr(os, "sched_getaffinity"):
        return set(), frozenset()
    first, *others = sorted(os.sched_getaffinity(0))
    return (set(others), frozenset({first})) if others else (set(), frozenset())


async def databases(url: str, kinds: Iterable[str]) -> dict[str, str]:
    made = {}
    connection = await asyncpg.connect(url)
    try:
        for kind in kinds:
            name = kind.replace("-", "_") + "_bench"
            await connection.execute(f"CREATE DATABASE {name}")
            made[kind] = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        await connection.close()
    return made


async def measure(options: argparse.Namespace, setting: Setting, place: Place, into: list[Measurement]) -> None:
    """Every round of a setting. How much costs without a turn is found out once, by a run as long as the first one."""
    idle: dict[str, Run] = {}
    for number in range(1, options.rounds + 1):
        for kind in options.servers:
            found = await run(kind, setting, place)
            if kind not in idle:
                idle_s = min(IDLE_LIMIT_S, float(found.figures["took_s"]))
                idle[kind] = await run(kind, setting, place, idle_s=idle_s)
            into.append(Measurement.of(kind, number, setting, found, idle[kind]))
            print(f"round {number}/{options.rounds}  {into[-1].line()}", file=sys.stderr, flush=True)


async def main(options: argparse.Namespace, measurements: list[Measurement]) -> None:
    others, server_cores = cores(options)
    pin(others)
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "data", options.pg_bin) as postgres:
        assert postgres.pid is not None
        urls = await databases(postgres.url, options.servers)
        logs = options.out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        place = Place(postgres.url, urls, postgres.pid, logs, server_cores)
        for kind in options.servers:  # makes its tables, and compiles what Python has not compiled yet
            await run(kind, Setting("no delay", 8, 1, 1), place)
        for setting in settings(options):
            await measure(options, setting, place, measurements)


def keep(out: Path, measurements: list[Measurement]) -> None:
    """Raw figures, the table and the plots; the table on stdout too."""
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    raw = {"machine": machine, "measurements": [asdict(one) for one in measurements]}
    (out / "raw.json").write_text(json.dumps(raw, indent=1) + "\n")
    shown = table(measurements)
    (out / "table.md").write_text(shown + "\n")
    for name, (title, figure) in PLOTS.items():
        (out / f"{name}.svg").write_text(plot(title, measurements, figure))
    print(shown)


if __name__ == "__main__":
    chosen, done = arguments(), list[Measurement]()
    try:
        asyncio.run(main(chosen, done))
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, EmbeddedError) as error:
        sys.exit(f"benchmarks: {error}")
    finally:
        if done:
            keep(chosen.out, done)
