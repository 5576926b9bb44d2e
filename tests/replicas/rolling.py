"""All replicas restarted one after another, again and again, under load: what does a client notice?

python -m tests.replicas.rolling --times 3 --bus nats            each one's successor starts when it is gone
python -m tests.replicas.rolling --times 3 --before --record     each one's successor serves before it is told to go
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final, get_args

import uvloop
from msgspec import Struct

from benchmarks.machine import open_as_many_sockets_as_allowed
from tests.checker.history import Fault
from tests.checker.sources import tables_of_postgres
from tests.figures import Figure, commit, record
from tests.replicas.long_run import OWED_S
from tests.replicas.people import Habits, Person
from tests.replicas.place import Bus, Place, Replica
from tests.replicas.sights import percentiles, read
from tests.replicas.verdict import Verdict, judge

BETWEEN_S: Final = 3.0
"""Between one that serves again and the next one that goes."""
RESTARTING: Final = 1012
UNREMARKABLE: Final = frozenset({1000, RESTARTING, None})
"""How a socket may end: as its client wanted, told that the server restarts, or not even connected yet."""
HABITS: Final = Habits(pause_s=(1.0, 4.0), messages=(8, 20), leaves=0.0, cancels=0.03)
Tell = Callable[[str], None]


class Restart(Struct, frozen=True):
    """Seconds since 1970. `ready`: from when on there was a successor."""

    name: str
    told_at: float
    gone_at: float
    ready_at: float


class Outcome(Struct):
    restarts: list[Restart]
    messages: int
    verdict: Verdict
    closes: Counter[str]
    """Code of each socket's end → how often."""
    refusals: int
    """Messages that were refused for the moment, and sent again."""
    most_reconnects: int
    """Of one client, while one replica after another was restarted once."""


class Rolling:
    def __init__(
        self,
        seed: int,
        folder: Path,
        *,
        people: int,
        bus: Bus,
        before: bool,
        tell: Tell,
        replicas: int = 3,
        habits: Habits = HABITS,
    ) -> None:
        """`before`: a replica's successor, under a name of its own, serves before it is told to stop."""
        self.over = asyncio.Event()
        self._random = Random(seed)
        self._folder = folder
        self._count = people
        self._bus = bus
        self._before = before
        self._tell = tell
        self._replicas = replicas
        self._habits = habits
        self._restarts: list[Restart] = []
        self._broken: list[str] = []

    async def roll(self, times: int, *, between_s: float = BETWEEN_S) -> Outcome:
        traces = self._folder / "traces"
        traces.mkdir()
        async with Place(self._folder, replicas=self._replicas, bus=self._bus) as place:
            urls = [replica.url for replica in place.replicas]
            people = [
                Person(f"p{number}", urls, traces, Random(self._random.getrandbits(64)), self._habits)
                for number in range(self._count)
            ]
            leaving = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                talking = [group.create_task(person.talk(leaving)) for person in people]
                await asyncio.sleep(between_s)
                await self._rounds(place, times, between_s)
                leaving.set()
                await asyncio.gather(*talking)
            await asyncio.sleep(OWED_S)
            tables = await tables_of_postgres(place.database.url)
            verdict = judge(people, tables, place.provider, self._faults(), replicas=self._replicas)
        outcome = Outcome(self._restarts, sum(person.messages for person in people), verdict, Counter(), 0, 0)
        self._seen_by(people, outcome)
        verdict.broken += self._broken
        return outcome

    async def _rounds(self, place: Place, times: int, between_s: float) -> None:
        for turn in range(1, times + 1):
            for replica in place.replicas:
                if self.over.is_set():
                    return
                restart = await (self._replaced if self._before else self._restarted)(place, replica)
                self._restarts.append(restart)
                self._tell(
                    f"round {turn}/{times}, {restart.name}: gone after {restart.gone_at - restart.told_at:.1f} s, "
                    f"its successor ready {restart.ready_at - restart.told_at:+.1f} s after it was told"
                )
                await asyncio.sleep(between_s)

    async def _restarted(self, place: Place, replica: Replica) -> Restart:
        told_at = time.time()
        self._ended_well(replica, await replica.stop())
        gone_at = time.time()
        await replica.start()
        return Restart(replica.name, told_at, gone_at, time.time())

    async def _replaced(self, place: Place, replica: Replica) -> Restart:
        """The way in leads to the successor from the moment on at which it is ready, as a proxy's does."""
        old = replica.server
        name = f"{replica.name}.{len(self._restarts)}"
        replica.server = place.server(name, replica.wire, replica.line)
        try:
            await replica.start()
        finally:
            ready_at = told_at = time.time()
            code = await asyncio.to_thread(old.stop)
        self._ended_well(replica, code)
        return Restart(replica.name, told_at, time.time(), ready_at)

    def _ended_well(self, replica: Replica, code: int) -> None:
        if code != 0:
            self._broken.append(f"{replica.name}: told to stop, it ended with {code}")

    def _faults(self) -> list[Fault]:
        return [
            Fault("deploy", restart.told_at, max(restart.gone_at, restart.ready_at) + 1.0, costs_attempts=True)
            for restart in self._restarts
        ]

    def _seen_by(self, people: Sequence[Person], outcome: Outcome) -> None:
        for person in people:
            for thread in person.threads:
                for watcher in (False, True):
                    self._seen_in(person.trace(thread, watcher=watcher), outcome)

    def _seen_in(self, trace: Path, outcome: Outcome) -> None:
        opened: list[float] = []
        for line in read(trace):
            if line.kind == "open":
                opened.append(line.at)
            elif line.kind == "closed":
                outcome.closes[str(line.code)] += 1
                if line.code not in UNREMARKABLE:
                    outcome.verdict.broken.append(f"{trace.stem}: a socket ended with {line.code}")
            elif line.frame.get("type") == "error" and "cursor" in line.frame:
                outcome.verdict.broken.append(f"{trace.stem}: {line.frame}")
            elif line.frame.get("type") == "error":
                outcome.refusals += 1
        for restart in self._restarts:
            until = max(restart.gone_at, restart.ready_at)
            outcome.most_reconnects = max(
                outcome.most_reconnects, sum(restart.told_at <= at <= until for at in opened[1:])
            )


def figures(outcome: Outcome, bus: Bus, *, before: bool, people: int) -> dict[str, Figure]:
    """Pauses in ms: of all messages, and of those that met a restart."""
    sights = outcome.verdict.sights
    met = [
        sight
        for sight in sights
        if any(
            restart.told_at <= sight.said_at + (sight.end_s or 0.0)
            and sight.said_at <= max(restart.gone_at, restart.ready_at)
            for restart in outcome.restarts
        )
    ]
    gone_s = [restart.gone_at - restart.told_at for restart in outcome.restarts]
    told: dict[str, Figure] = {
        "bus": bus,
        "successor": "before" if before else "after",
        "people": people,
        "restarts": len(outcome.restarts),
        "messages": outcome.messages,
        "met_a_restart": len(met),
        "violations": len(outcome.verdict.broken),
        "closes": ", ".join(f"{code} {times}" for code, times in sorted(outcome.closes.items())),
        "refused_for_now": outcome.refusals,
        "most_reconnects_a_restart": outcome.most_reconnects,
        "begun_anew": sum(sight.begun_anew for sight in met),
        "longest_stop_s": round(max(gone_s, default=0.0), 1),
    }
    for name, found in (("pause", sights), ("pause_met", met)):
        told |= _told(name, [sight.silence_s for sight in found])
    for name, found in (("first_text", sights), ("first_text_met", met)):
        told |= _told(name, [sight.first_text_s for sight in found if sight.first_text_s is not None])
    return told


def _told(name: str, values: list[float]) -> dict[str, Figure]:
    median, high = percentiles(values)
    return {
        f"{name}_p50_ms": median,
        f"{name}_p99_ms": high,
        f"{name}_max_ms": round(max(values, default=0.0) * 1000, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """1: a promise was broken, or a client saw more than a reconnect."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.replicas.rolling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=3, help="how often each replica is restarted (%(default)s)")
    parser.add_argument("--bus", choices=get_args(Bus), default="nats")
    parser.add_argument("--before", action="store_true", help="the successor serves before the other is told to stop")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    given = parser.parse_args(arguments)
    open_as_many_sockets_as_allowed()
    measured, folder = commit(), Path(tempfile.mkdtemp(prefix="unbroken-rolling-"))
    folder.chmod(0o755)
    _say(f"seed {given.seed}, {given.bus}, everything recorded in {folder}")
    outcome = uvloop.run(_run(given, folder))
    found = figures(outcome, given.bus, before=given.before, people=given.people)
    _say("\n".join(outcome.verdict.broken[:20]) or "nothing broken")
    _say("\n".join(f"{name}: {value}" for name, value in found.items()))
    if given.record:
        record("rolling restarts", {"commit": measured, **found})
    return int(bool(outcome.verdict.broken))


async def _run(given: argparse.Namespace, folder: Path) -> Outcome:
    rolling = Rolling(given.seed, folder, people=given.people, bus=given.bus, before=given.before, tell=_say)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, rolling.over.set)
    return await rolling.roll(given.times)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
