"""What one round trip and one layer less are worth: `python -m benchmarks.hot_path`.

An accept and a finish, cut down to three tables each, written the same way by every driver and shape: CPU of this
process and of PostgreSQL for one call, and its wall time, one call after another. Decides ADR 11.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import asyncpg
import uvloop

from benchmarks.hot_path_ways import SCHEMA, WAYS, Calls
from benchmarks.measure import cpu_s
from benchmarks.report import spread
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

Cost = tuple[float, float, float]
"""µs: this process's CPU, PostgreSQL's, and wall time, for one call."""


async def cost(calls: Sequence[Callable[[], Awaitable[None]]], postgres_pid: int) -> Cost:
    gc.collect()
    postgres, wall, cpu = cpu_s(postgres_pid), time.perf_counter(), time.process_time()
    for call in calls:
        await call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    us = 1e6 / len(calls)
    return cpu * us, (cpu_s(postgres_pid) - postgres) * us, wall * us


async def accepts_and_finishes(way: Calls, prefix: str, threads: int, postgres_pid: int) -> tuple[Cost, Cost]:
    """On sessions that have one turn behind them: the first is another matter, and rare."""
    names = [f"{prefix}-{number}" for number in range(threads)]
    for name in names:
        await way.accept(name, f"{name}-1")
        await way.finish(name, 1)
    accepting = await cost([partial(way.accept, name, f"{name}-2") for name in names], postgres_pid)
    finishing = await cost([partial(way.finish, name, 2) for name in names], postgres_pid)
    return accepting, finishing


async def main(rounds: int, threads: int, url: str, postgres_pid: int) -> None:
    found: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in WAYS}
    async with AsyncExitStack() as stack:
        reader = await asyncpg.connect(url)
        stack.push_async_callback(reader.close)
        await reader.execute(SCHEMA)
        ways = {name: await stack.enter_async_context(way(url)) for name, way in WAYS.items()}
        for number in range(rounds):
            for name, way in ways.items():
                prefix = f"{name}-{number}"
                found[name].append(await accepts_and_finishes(way, prefix, threads, postgres_pid))
                await _all_there(reader, prefix, threads)
    first = next(iter(found))
    print(f"µs a call, median of {rounds} rounds of {threads} calls (least to greatest)")
    print(f"÷: to `{first}` in the same round\n")
    titles = [f"{what}: {cost}" for what in ("accept", "finish") for cost in ("our CPU", "÷", "PostgreSQL's", "wall")]
    print("| way | " + " | ".join(titles) + " |\n" + "|---" * 9 + "|")
    for name, costs in found.items():
        cells = []
        for call in (0, 1):
            ours, postgres, wall = ([one[call][which] for one in costs] for which in (0, 1, 2))
            ratios = [one / base[call][0] for one, base in zip(ours, found[first], strict=True)]
            cells += [spread(ours, 0), spread(ratios, 2), spread(postgres, 0), spread(wall, 0)]
        print(f"| {name} | " + " | ".join(cells) + " |")


async def _all_there(reader: asyncpg.Connection, prefix: str, threads: int) -> None:
    """Raises RuntimeError if a way did less than the others."""
    row = await reader.fetchrow(
        """SELECT (SELECT count(*) FROM hot_sessions WHERE thread_id LIKE $1 AND applied_seq = 2) AS sessions,
           (SELECT count(*) FROM hot_events WHERE thread_id LIKE $1) AS events,
           (SELECT count(*) FROM hot_effects WHERE thread_id LIKE $1) AS effects,
           (SELECT count(*) FROM hot_checkpoints WHERE thread_id LIKE $1) AS checkpoints""",
        f"{prefix}-%",
    )
    if row is None or tuple(row) != (threads, 2 * threads, 2 * threads, threads):
        raise RuntimeError(f"{prefix}: {row}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_path")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=500, help="sessions, each with one measured accept and finish")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "data") as postgres:
        assert postgres.pid is not None
        uvloop.run(main(chosen.rounds, chosen.threads, postgres.url, postgres.pid))
