"""Kills side by side: one process to fork servers from, and a database for each lane."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from tests.crash.instrument import When
from tests.crash.kills import SUCCESSOR, Kill, Lane, Result
from tests.crash.point_scenarios import SCENARIOS
from tests.crash.zygote import SETTINGS, Zygote
from tests.end_to_end.ports import free_port

LANES = 8
Passed = Callable[[Result], object]


class Passing(Struct, frozen=True):
    """How often one scenario passes one point."""

    scenario: str
    armed: int
    """Since the first message was on its way."""
    unarmed: int
    length: int
    """Of the whole scenario, in passings of any point by the server that is to be killed."""

    def kill(self, point: str, when: When, share: float, *, stalls: bool = False) -> Kill:
        """In the `share` of its passings, 0 to 1."""
        times = self.armed or self.unarmed
        passing = 1 + min(times - 1, int(share * times))
        return Kill(self.scenario, point, when, passing, armed=bool(self.armed), stalls=stalls)


Place = tuple[str, When]
Reach = dict[Place, list[Passing]]
"""By point: the scenarios that pass it, the one to be asked first for a kill in front."""


class Lanes:
    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes

    @property
    def results(self) -> list[Result]:
        return [result for lane in self._lanes for result in lane.results]

    async def play(self, kills: Iterable[Kill], *, recorded: bool = False, then: Passed = lambda result: None) -> None:
        """All of them, each by the next free lane."""
        waiting = iter(kills)

        async def work(lane: Lane) -> None:
            for kill in waiting:
                then(await lane.play(kill, recorded=recorded))

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(work(lane))

    async def judge(self) -> list[str]:
        return [broken for lane in self._lanes for broken in await lane.judge()]

    async def kill_at(self, places: Iterable[Place], reach: Reach, *, tries: int, stalls: bool = False) -> list[Place]:
        """Once at each; where a scenario does not come by this time, others are asked. Returns what was missed."""
        missed = list(places)
        for number in range(tries):
            before = set(map(id, self.results))
            share = 0.5 / (1 + number)
            asked = [(place, reach[place][number % len(reach[place])]) for place in missed]
            await self.play(passing.kill(*place, share, stalls=stalls) for place, passing in asked)
            played = [result for result in self.results if id(result) not in before]
            missed = [(result.kill.point, result.kill.when) for result in played if not result.died]
        return missed


@asynccontextmanager
async def lanes(
    folder: Path, database_urls: Sequence[str], *, settings: Mapping[str, str] = SETTINGS, successor: str = SUCCESSOR
) -> AsyncIterator[Lanes]:
    """One lane for each database, which must be migrated and nobody else's."""
    async with Zygote(folder / "servers.log", settings) as zygote:
        ports = [free_port() for _ in database_urls]
        named = [
            (f"lane{number}", url, port) for number, (url, port) in enumerate(zip(database_urls, ports, strict=True))
        ]
        yield Lanes([Lane(zygote, url, folder, name, port, successor=successor) for name, url, port in named])


async def explore(lanes: Lanes, among: Iterable[str] = SCENARIOS) -> Reach:
    """Play each scenario without a kill, and write down what is passed."""
    await lanes.play((Kill(name) for name in among), recorded=True)
    reach: Reach = {}
    for result in lanes.results:
        if result.recording is None:
            continue
        counted: Counter[tuple[str, When, bool]] = Counter()
        for line in result.recording.read_text().splitlines():
            in_turn, when, point = line.split(" ", 2)
            counted[point, "after" if when == "after" else "before", in_turn == "1"] += 1
        for point, when in {(point, when) for point, when, _ in counted}:
            armed, unarmed = (counted[point, when, since] for since in (True, False))
            passing = Passing(result.kill.scenario, armed, unarmed, counted.total())
            reach.setdefault((point, when), []).append(passing)
    return {place: in_order(passings) for place, passings in reach.items()}


def in_order(passings: Iterable[Passing]) -> list[Passing]:
    """Which to ask for a kill, first to last. First one that passes in a turn and is smooth: rather one whose answers
    are judged by what was said before them, and of these the shortest. Then those that pass most often, which are the
    least likely to miss it."""
    ordered = sorted(passings, key=lambda passing: -passing.armed)
    smooth = [passing for passing in ordered if SCENARIOS[passing.scenario].smooth]
    in_turns = [passing for passing in smooth if passing.armed or not ordered[0].armed]
    first = min(in_turns, key=lambda each: (not SCENARIOS[each.scenario].plain, each.length), default=ordered[0])
    return [first, *(passing for passing in ordered if passing is not first)]
