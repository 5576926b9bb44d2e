"""A replica in a network namespace of its own: its packets to the database, or to the broker, vanish, while all else is
well. Who takes over, and what do its clients see?

    python -m tests.replicas.partition --times 5 --record
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Final, Literal

import psycopg
import uvloop
from msgspec import Struct

from benchmarks.machine import open_as_many_sockets_as_allowed
from tests.checker.history import Fault
from tests.checker.sources import tables_of_postgres
from tests.end_to_end.proxy import Proxy
from tests.end_to_end.server import Server
from tests.figures import Figure, commit, record
from tests.replicas.long_run import OWED_S
from tests.replicas.namespaces import Cable, Namespace
from tests.replicas.people import Habits, Person
from tests.replicas.place import BILLED, LEASE_S, Bus, Place, Replica
from tests.replicas.sights import LIVE, Seen, percentiles, read
from tests.replicas.verdict import Verdict, judge

APART: Final = "r1"
"""The replica in the namespace."""
HEADERS: Final = {"X-Forwarded-User": "local"}
HABITS: Final = Habits(
    pause_s=(0.2, 1.0),
    words=(100,),
    word_pause_s=0.06,
    messages=(2, 3),
    watched=1.0,
    in_steps=0.0,
    leaves=0.0,
    cancels=0.0,
)
"""Answers of six seconds, so that most people are in the middle of one whenever something happens."""
WARM_S: Final = 4.0
LASTS_S: Final = LEASE_S + 8.0
CALM_S: Final = 6.0
Tell = Callable[[str], None]
Way = Literal["database", "broker"]


class Divided(Place):
    """One replica in a namespace, and two beside it."""

    def __init__(self, folder: Path, namespace: Namespace, *, bus: Bus, replicas: int = 3) -> None:
        self.to_database = namespace.cable()
        self.to_broker = namespace.cable()
        self.to_clients = namespace.cable()
        """And to the model's provider."""
        self._namespace = namespace
        trusted = {"UNBROKEN_AUTH": "proxy", "UNBROKEN_PROXY_TRUSTED": f"127.0.0.0/8,{namespace.network}"}
        super().__init__(
            folder,
            replicas=replicas,
            bus=bus,
            settings=trusted,
            broker_host=self.to_broker.root,
            provider_hosts=(self.to_clients.root,),
        )

    def _open_database(self) -> None:
        """PostgreSQL itself listens at the cable's end: what vanishes there, vanishes for its own TCP."""
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            row = connection.execute("SHOW hba_file").fetchone()
            assert row is not None
            with Path(row[0]).open("a", encoding="utf-8") as rules:
                rules.write(f"\nhost all all {self._namespace.network} scram-sha-256\n")
            connection.execute(f"ALTER SYSTEM SET listen_addresses = '127.0.0.1,{self.to_database.root}'".encode())
        self.database.restart()

    async def _replica(self, stack: AsyncExitStack, name: str) -> Replica:
        if name != APART:
            return await super()._replica(stack, name)
        url = self.database.tcp_url.replace("@127.0.0.1:", f"@{self.to_database.root}:")
        environment = self.environment(
            name, self.provider.address(self.to_clients.root), self.broker.url if self.broker else None
        )
        server = Server(
            self.folder(name),
            database_url=url,
            environment=environment,
            arguments=BILLED,
            host=self.to_clients.far,
            within=self._namespace.within,
            aloof=True,
        )
        sockets = await stack.enter_async_context(Proxy(0, host=self.to_clients.far))
        wire = Proxy(0)  # its wires are cables
        return Replica(server, name, sockets, wire, None)


class Cut(Struct, frozen=True):
    """Seconds since 1970."""

    way: Way
    began: float
    ended: float


class Sighting(Struct, frozen=True):
    """What one client at the replica apart saw of the answer under way when the cable was cut. Seconds from then on."""

    way: Way
    shown_until_s: float
    """The last word of the attempt that ran there; negative: it came before."""
    elsewhere_s: float | None
    """When it came to another replica."""
    end_s: float | None


class Outcome(Struct):
    cuts: list[Cut]
    messages: int
    verdict: Verdict
    sightings: list[Sighting]


class Experiment:
    def __init__(self, seed: int, folder: Path, *, people: int, bus: Bus, tell: Tell, habits: Habits = HABITS) -> None:
        self.over = asyncio.Event()
        self._random = Random(seed)
        self._folder = folder
        self._count = people
        self._bus = bus
        self._tell = tell
        self._habits = habits
        self._cuts: list[Cut] = []

    async def run(self, ways: Sequence[Way], *, lasts_s: float = LASTS_S) -> Outcome:
        """Each way is cut in its turn. Raises RuntimeError where namespaces cannot be made, and says why."""
        traces = self._folder / "traces"
        traces.mkdir()
        with Namespace() as namespace:
            async with Divided(self._folder, namespace, bus=self._bus) as place:
                urls = [replica.url for replica in place.replicas]
                urls += urls[:1] * 2  # most people come to the one apart
                people = [
                    Person(f"p{number}", urls, traces, Random(self._random.getrandbits(64)), self._habits, HEADERS)
                    for number in range(self._count)
                ]
                await self._talk(people, place, ways, lasts_s)
                tables = await tables_of_postgres(place.database.url)
                verdict = judge(people, tables, place.provider, self._faults(), replicas=len(place.replicas))
                apart = place.replicas[0].url
        sightings = [one for person in people for one in self._seen_by(person, apart)]
        return Outcome(self._cuts, sum(person.messages for person in people), verdict, sightings)

    async def _talk(self, people: Sequence[Person], place: Divided, ways: Sequence[Way], lasts_s: float) -> None:
        leaving = asyncio.Event()
        cables = {"database": place.to_database, "broker": place.to_broker}
        async with asyncio.TaskGroup() as group:
            talking = [group.create_task(person.talk(leaving)) for person in people]
            for way in ways:
                await asyncio.sleep(WARM_S)
                if not self.over.is_set():
                    await self._cut(way, cables[way], lasts_s)
            leaving.set()
            await asyncio.gather(*talking)
        await asyncio.sleep(OWED_S)

    async def _cut(self, way: Way, cable: Cable, lasts_s: float) -> None:
        began = time.time()
        await asyncio.to_thread(cable.cut)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            cable.mend()
        self._cuts.append(Cut(way, began, time.time()))
        self._tell(f"{APART} was cut off from its {way} for {time.time() - began:.1f} s")
        await asyncio.sleep(CALM_S)

    def _faults(self) -> list[Fault]:
        faults = []
        for cut in self._cuts:
            costs = cut.way == "database"
            kind = "partition" if costs else "broker_hold"
            fault = Fault(kind, cut.began, cut.ended + CALM_S, APART, costs_attempts=costs)
            faults += [fault] * (2 if costs else 1)
        return faults

    def _seen_by(self, person: Person, apart: str) -> Iterator[Sighting]:
        for thread in person.threads:
            for watcher in (False, True):
                lines = read(person.trace(thread, watcher=watcher))
                for cut in self._cuts:
                    yield from sightings(lines, cut, apart)


def sightings(lines: Sequence[Seen], cut: Cut, apart: str) -> Iterator[Sighting]:
    """Of one client, if it was at the replica apart in the middle of an answer."""
    opened = [line for line in lines if line.kind == "open"]
    before = [line for line in opened if line.at < cut.began]
    if not before or before[-1].url != apart:
        return
    live = [line for line in lines if line.frame.get("type") in LIVE]
    running = next((line for line in reversed(live) if before[-1].at < line.at < cut.began), None)
    if running is None:
        return
    request, attempt = running.frame["requestId"], running.frame["attempt"]
    ends = [line.at for line in lines if line.frame.get("requestId") == request and "cursor" in line.frame]
    if ends and ends[0] < cut.began:
        return
    left = next((line.at for line in opened if line.at > cut.began), cut.ended)
    shown = [line.at for line in live if line.frame["attempt"] == attempt and line.at < min(left, cut.ended)]
    elsewhere = next((line.at - cut.began for line in opened if line.at > cut.began and line.url != apart), None)
    yield Sighting(cut.way, shown[-1] - cut.began, elsewhere, ends[0] - cut.began if ends else None)


def figures(outcome: Outcome, bus: Bus, people: int) -> dict[str, Figure]:
    """In ms, from the cut on."""
    taken = [one.seconds for one in outcome.verdict.takeovers]
    ways = [cut.way for cut in outcome.cuts]
    told: dict[str, Figure] = {
        "bus": bus,
        "people": people,
        "database_cuts": ways.count("database"),
        "broker_cuts": ways.count("broker"),
        "messages": outcome.messages,
        "violations": len(outcome.verdict.broken),
        "takeovers": len(taken),
    }
    groups = {"takeover": taken, "beyond_lease": [seconds - LEASE_S for seconds in taken]}
    for way in ("database", "broker"):
        mine = [one for one in outcome.sightings if one.way == way]
        groups[f"{way}_shown_until"] = [one.shown_until_s for one in mine]
        groups[f"{way}_elsewhere"] = [one.elsewhere_s for one in mine if one.elsewhere_s is not None]
        groups[f"{way}_end"] = [one.end_s for one in mine if one.end_s is not None]
        told[f"{way}_clients_met"] = len(mine)
    for name, values in groups.items():
        median, high = percentiles(values)
        told |= {f"{name}_p50_ms": median, f"{name}_p99_ms": high}
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """1: a promise was broken. 2: no namespace could be made."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.replicas.partition",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=5, help="how often each cable is cut (%(default)s)")
    parser.add_argument("--bus", choices=["nats", "postgres", "none"], default="nats")
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    given = parser.parse_args(arguments)
    open_as_many_sockets_as_allowed()
    measured, folder = commit(), Path(tempfile.mkdtemp(prefix="unbroken-partition-"))
    folder.chmod(0o755)
    _say(f"seed {given.seed}, {given.bus}, everything recorded in {folder}")
    try:
        outcome = uvloop.run(_run(given, folder))
    except RuntimeError as error:
        _say(f"cannot be tried here: {error}")
        return 2
    found = figures(outcome, given.bus, given.people)
    _say("\n".join(outcome.verdict.broken[:20]) or "nothing broken")
    _say("\n".join(f"{name}: {value}" for name, value in found.items()))
    if given.record:
        record("partitions", {"commit": measured, **found})
    return int(bool(outcome.verdict.broken))


async def _run(given: argparse.Namespace, folder: Path) -> Outcome:
    experiment = Experiment(given.seed, folder, people=given.people, bus=given.bus, tell=_say)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, experiment.over.set)
    ways: list[Way] = ["database", "broker"] if given.bus == "nats" else ["database"]
    return await experiment.run(ways * given.times)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
