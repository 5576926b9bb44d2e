"""Kill after kill, at random points of random conversations: `make crash KILLS=2000`.

    python -m tests.crash.points --kills 2000 --record
    python -m tests.crash.points --from-seed 731 --kills 1     the kill that a failure names
    python -m tests.crash.points --lease product               with the product's own lease, which takeovers wait for
    python -m tests.crash.points --stall                       it stands still past its lease and thaws, instead
    python -m tests.crash.points --successor victim            the killed server itself comes back
    python -m tests.crash.points --of run-                     only in scenarios whose names begin so

Each number is one kill: its point, side, scenario and passing follow from the number and from what the scenarios
pass on this machine. Every batch has databases of its own and is judged when it is over.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Final

import psycopg
from msgspec import Struct, field

from tests.conftest import TEMPLATE, on_database
from tests.crash.kills import SUCCESSOR, VICTIM, Kill, Result
from tests.crash.lanes import LANES, Lanes, Place, Reach, explore, lanes
from tests.crash.point_scenarios import SCENARIOS
from tests.crash.zygote import PRODUCTS, SETTINGS
from tests.figures import Figure, record
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.migrate import migrate

BATCH: Final = 100
Tell = Callable[[str], object]


class Outcome(Struct):
    kills: int = 0
    missed: int = 0
    """Numbers whose scenario did not come by this time; nothing was killed."""
    struck: set[Place] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    to_socket_s: list[float] = field(default_factory=list)
    to_frame_s: list[float] = field(default_factory=list)
    to_end_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    next_seed: int = 0

    def add(self, batch: Outcome) -> None:
        self.kills += batch.kills
        self.missed += batch.missed
        self.struck |= batch.struck
        self.broken += batch.broken
        self.to_socket_s += batch.to_socket_s
        self.to_frame_s += batch.to_frame_s
        self.to_end_s += batch.to_end_s
        self.next_seed = batch.next_seed

    def count(self, result: Result) -> None:
        self.kills += result.died
        self.missed += not result.died
        if result.died:
            self.struck.add((result.kill.point, result.kill.when))
            self.to_socket_s += [] if result.to_socket_s is None else [result.to_socket_s]
            self.to_frame_s += [] if result.to_frame_s is None else [result.to_frame_s]
            self.to_end_s += [] if result.to_end_s is None else [result.to_end_s]

    def figures(self) -> dict[str, Figure]:
        return {
            "kills": self.kills,
            "points_struck": len(self.struck),
            "violations": len(self.broken),
            **_times("to_socket", self.to_socket_s),
            **_times("to_frame", self.to_frame_s),
            **_times("to_end", self.to_end_s),
            "minutes": round(self.seconds / 60, 1),
            "next_seed": self.next_seed,
        }


class Run:
    def __init__(
        self,
        folder: Path,
        tell: Tell,
        *,
        at: str = "",
        of: str = "",
        settings: Mapping[str, str] = SETTINGS,
        successor: str = SUCCESSOR,
        stalls: bool = False,
    ) -> None:
        """`at`: only at points in whose names it occurs. `of`: only in scenarios whose names begin with it."""
        self._at = at
        self._scenarios = [name for name in SCENARIOS if name.startswith(of)]
        self._stalls = stalls
        self._settings = settings
        self._successor = successor
        self.outcome = Outcome()
        self._folder = folder
        self._tell = tell
        self._batches = 0

    async def last(self, kills: int, from_seed: int, *, size: int = LANES) -> Outcome:
        """Until so many servers were killed."""
        began = time.monotonic()
        database = EmbeddedPostgres(self._folder / "database")
        try:
            await asyncio.to_thread(database.start)
            _say(database.url, f"CREATE DATABASE {TEMPLATE}")
            await migrate(on_database(database.url, TEMPLATE))
            outcome = self.outcome
            outcome.next_seed = from_seed
            async with self._lanes(database, size) as workers:
                reach = await explore(workers, self._scenarios)
                outcome.broken += await workers.judge()
            reach = {place: passings for place, passings in reach.items() if self._at in place[0]}
            while outcome.kills < kills:
                async with self._lanes(database, size) as workers:
                    struck = await self._struck(workers, reach, min(BATCH, kills - outcome.kills))
                outcome.add(struck)
                outcome.seconds = time.monotonic() - began
                self._tell(self._progress(kills))
        finally:
            await asyncio.to_thread(database.stop, immediate=True)
        return outcome

    async def _struck(self, workers: Lanes, reach: Reach, count: int) -> Outcome:
        """A batch, judged: only then does it count."""
        first = self.outcome.next_seed
        batch = Outcome(next_seed=first + count)
        await workers.play(chosen(reach, range(first, first + count), stalls=self._stalls), then=batch.count)
        for broken in await workers.judge():
            batch.broken.append(broken)
            self._tell(f"BROKEN, of the seeds from {first}: {broken}")
        return batch

    @asynccontextmanager
    async def _lanes(self, database: EmbeddedPostgres, size: int) -> AsyncIterator[Lanes]:
        """With databases of their own, gone afterwards."""
        self._batches += 1
        folder = self._folder / f"batch{self._batches}"
        folder.mkdir()
        names = [f"batch{self._batches}_{number}" for number in range(size)]
        try:
            for name in names:
                _say(database.url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
            urls = [on_database(database.url, name) for name in names]
            async with lanes(folder, urls, settings=self._settings, successor=self._successor) as workers:
                yield workers
        finally:
            for name in names:
                _say(database.url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _progress(self, kills: int) -> str:
        done = self.outcome
        return (
            f"{done.kills}/{kills} kills at {len(done.struck)} points, {done.missed} missed,"
            f" {len(done.broken)} broken, {done.seconds:.0f} s, next seed {done.next_seed}"
        )


def chosen(reach: Reach, seeds: Sequence[int], *, stalls: bool = False) -> Iterator[Kill]:
    """One kill for each seed."""
    places = sorted(reach)
    for seed in seeds:
        random = Random(seed)
        place = random.choice(places)
        passing = random.choice(sorted(reach[place], key=lambda passing: passing.scenario))
        yield passing.kill(*place, random.random(), stalls=stalls)


def _times(name: str, seconds: Sequence[float]) -> dict[str, Figure]:
    steps = quantiles(seconds, n=100) if len(seconds) > 1 else [0.0] * 99
    return {f"{name}_p50_ms": round(steps[49] * 1000), f"{name}_p99_ms": round(steps[98] * 1000)}


def _say(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """1: a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.points", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--from-seed", type=int, default=0)
    parser.add_argument("--side-by-side", type=int, default=LANES)
    parser.add_argument("--at", default="", help="only at points in whose names this occurs")
    parser.add_argument("--of", default="", help="only in scenarios whose names begin with this")
    parser.add_argument("--lease", choices=("short", "product"), default="short", help="whose settings of the lease")
    parser.add_argument("--successor", choices=(SUCCESSOR, VICTIM), default=SUCCESSOR, help="the next server's name")
    parser.add_argument("--stall", action="store_true", help="stall the server past its lease instead of killing it")
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    given = parser.parse_args(arguments)
    if not any(name.startswith(given.of) for name in SCENARIOS):
        parser.error(f"no scenario's name begins with {given.of!r}")
    folder = Path(tempfile.mkdtemp(prefix="unbroken-points-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user
    _tell(f"everything recorded in {folder}")
    settings = SETTINGS if given.lease == "short" else PRODUCTS
    run = Run(folder, _tell, at=given.at, of=given.of, settings=settings, successor=given.successor, stalls=given.stall)
    for interrupts in (signal.SIGINT, signal.SIGTERM):  # a shell has its background ignore the one
        signal.signal(interrupts, signal.default_int_handler)
    try:
        asyncio.run(run.last(given.kills, given.from_seed, size=given.side_by_side))
    finally:  # broken off, what was judged until then counts, and the next run goes on from its `next_seed`
        figures = {
            "how": "stall" if given.stall else "kill",
            "lease": given.lease,
            "successor": given.successor,
            **run.outcome.figures(),
        }
        _tell("\n".join(run.outcome.broken[:20]) or "nothing broken")
        _tell("\n".join(f"{name}: {value}" for name, value in figures.items()))
        if given.record:
            record("crash points", figures)
    return int(bool(run.outcome.broken))


if __name__ == "__main__":
    sys.exit(main())
