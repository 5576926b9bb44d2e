"""A long run: replicas, people and a nemesis; then everything is brought to its end, and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from statistics import fmean

from msgspec import Struct

from tests.checker.sources import tables_of_postgres
from tests.figures import Figure
from tests.replicas.nemesis import PAUSE_S, Nemesis
from tests.replicas.people import Habits, Person
from tests.replicas.place import LEASE_S, Bus, Place
from tests.replicas.sights import percentiles
from tests.replicas.verdict import Verdict, judge

Tell = Callable[[str], None]
OWED_S = 1.5
"""Effects and marks that are owed without anybody waiting for them are done by then."""


class Outcome(Struct):
    seconds: float
    messages: int
    struck: dict[str, int]
    verdict: Verdict


class LongRun:
    def __init__(
        self,
        seed: int,
        folder: Path,
        *,
        people: int,
        replicas: int,
        bus: Bus,
        habits: Habits,
        tell: Tell,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`pause_s`: between two faults, on average."""
        self.over = asyncio.Event()
        """Set it to end early; what is under way is brought to its end."""
        self._random = Random(seed)
        self._folder = folder
        self._count = people
        self._replicas = replicas
        self._bus = bus
        self._pause_s = pause_s
        self._habits = habits
        self._tell = tell
        self._people: list[Person] = []
        self._began = time.time()

    async def last(self, seconds: float) -> Outcome:
        async with Place(self._folder, replicas=self._replicas, bus=self._bus) as place:
            self._began = time.time()
            nemesis = Nemesis(self._random, place, pause_s=self._pause_s)
            self._people = self._gathered(place)
            await self._under_way(nemesis, seconds)
            took_s = time.time() - self._began
            await asyncio.sleep(OWED_S)
            tables = await tables_of_postgres(place.database.url)
            self._tell("everybody has left; the checker reads")
            verdict = judge(self._people, tables, place.provider, nemesis.faults, replicas=self._replicas)
        verdict.broken += nemesis.broken
        return Outcome(took_s, sum(person.messages for person in self._people), dict(nemesis.struck), verdict)

    def _gathered(self, place: Place) -> list[Person]:
        traces = self._folder / "traces"
        traces.mkdir()
        urls = [replica.url for replica in place.replicas]
        seeds = [Random(self._random.getrandbits(64)) for _ in range(self._count)]
        return [Person(f"p{number}", urls, traces, seed, self._habits) for number, seed in enumerate(seeds)]

    async def _under_way(self, nemesis: Nemesis, seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            talking = [group.create_task(person.talk(self.over)) for person in self._people]
            watching = group.create_task(self._watch(nemesis))
            await self._until_over(nemesis.forever(), seconds)
            await nemesis.calm()
            self._tell("no more faults; what is under way is brought to its end")
            self.over.set()
            await asyncio.gather(*talking)
            watching.cancel()

    async def _until_over(self, forever: Awaitable[None], seconds: float) -> None:
        striking = asyncio.ensure_future(forever)
        waiting = asyncio.ensure_future(self.over.wait())
        await asyncio.wait({striking, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        failed = striking.done()
        for task in (striking, waiting):
            task.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if failed:
            await striking  # raises what ended it
        await asyncio.gather(striking, return_exceptions=True)

    async def _watch(self, nemesis: Nemesis) -> None:
        while True:
            await asyncio.sleep(10.0)
            said = sum(person.messages for person in self._people)
            wrong = len(nemesis.broken) + sum(len(person.broken) for person in self._people)
            self._tell(
                f"{time.time() - self._began:6.0f} s  {said:6,} messages  {nemesis.struck.total():4} faults  "
                f"{wrong} complaints"
            )


def figures(outcome: Outcome, bus: Bus, replicas: int, people: int) -> dict[str, Figure]:
    """For docs/reliability.md. Times of clients in ms; `beyond lease`: without what a lease takes to run out."""
    verdict, found = outcome.verdict, outcome.verdict.sights
    often = [times for times, events in verdict.asked.items() for _ in range(events)]
    taken = [one.seconds for one in verdict.takeovers]
    told: dict[str, Figure] = {
        "bus": bus,
        "replicas": replicas,
        "minutes": round(outcome.seconds / 60, 1),
        "people": people,
        "threads": verdict.threads,
        "messages": outcome.messages,
        "faults": ", ".join(f"{kind} {times}" for kind, times in sorted(outcome.struck.items())),
        "violations": len(verdict.broken),
        "calls_an_event": round(fmean(often), 4) if often else 0.0,
        "most_calls_an_event": max(often, default=0),
        "takeovers": len(taken),
    }
    told |= _named("takeover", taken)
    told |= _named("beyond_lease", [seconds - LEASE_S for seconds in taken])
    watched = [one for one in found if one.elsewhere]
    for name, values in {
        "accepted": [one.accepted_s for one in found],
        "first_text": [one.first_text_s for one in found],
        "end": [one.end_s for one in found],
        "elsewhere_first_text": [one.watched_first_text_s for one in watched],
        "elsewhere_end": [one.watched_end_s for one in watched],
    }.items():
        told |= _named(name, [value for value in values if value is not None])
    lived = sum(one.watched_first_text_s is not None for one in watched)
    return told | {"watched_elsewhere": len(watched), "seen_live_elsewhere": lived}


def _named(name: str, values: list[float]) -> dict[str, Figure]:
    median, high = percentiles(values)
    return {f"{name}_p50_ms": median, f"{name}_p99_ms": high}
