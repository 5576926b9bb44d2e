"""Part `replicas`: what being several costs. One, two and four replicas over one PostgreSQL, all on the same cores.

Clients are spread over them evenly; each has a thread of its own, so every turn runs where its client is. With NATS
between the replicas, and with PostgreSQL's hints only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from benchmarks.measure import cpu_s
from benchmarks.report import quantile_ms
from benchmarks.runs import CONNECTED_S, SETTLE_S, Place, Setting, connected
from benchmarks.servers import Server, server
from benchmarks.turns import turned
from tests.bus.nats_server import NatsServer

BUSES: Final = ("nats", "postgres")
WARM: Final = Setting("no delay", tokens=64, sessions=2, turns=5)
MEASURED: Final = Setting("no delay", tokens=64, sessions=100, turns=10)
IDLE_S: Final = 4.0


@dataclass(frozen=True)
class Several:
    """So many replicas, once. Times in ms; CPU in ms a turn, of all replicas together, without what they cost idle."""

    bus: str
    round: int
    replicas: int
    sessions: int
    tokens: int
    turns: int
    turns_per_s: float
    first_token_p50: float
    first_token_p99: float
    turn_p50: float
    turn_p99: float
    server_cpu: float
    postgres_cpu: float
    broker_cpu: float
    idle_server_cpu: float
    """ms a second, while nobody says anything: heartbeats, looks and hints of all replicas."""
    idle_postgres_cpu: float
    load_busy: float
    """Share of a core that the load itself took, from 0 to 1."""
    refused: int

    @property
    def cell(self) -> tuple[str, int, int, int]:
        return (self.bus, self.replicas, self.sessions, self.tokens)

    def line(self) -> str:
        return (
            f"{self.replicas} replicas, {self.bus:8}: {self.turns_per_s:7.1f} turns/s, turn {self.turn_p50:7.2f} ms, "
            f"{self.server_cpu:5.2f} + {self.postgres_cpu:4.2f} + {self.broker_cpu:4.2f} ms of CPU; idle "
            f"{self.idle_server_cpu:5.2f} + {self.idle_postgres_cpu:5.2f} ms a second"
        )


@dataclass(frozen=True)
class Spent:
    """CPU in seconds until now."""

    servers: float
    postgres: float
    broker: float

    def since(self, other: Spent) -> Spent:
        return Spent(self.servers - other.servers, self.postgres - other.postgres, self.broker - other.broker)

    def without(self, other: Spent, share: float) -> Spent:
        return Spent(
            self.servers - other.servers * share,
            self.postgres - other.postgres * share,
            self.broker - other.broker * share,
        )


async def measure(options: argparse.Namespace, place: Place, into: list[Several]) -> None:
    cells = [(bus, count) for bus in options.buses for count in options.replicas]
    setting = replace(MEASURED, turns=options.turns or MEASURED.turns)
    for number in range(1, options.rounds + 1):
        for bus, count in turned(cells, number):
            with place.going_on():
                into.append(await once(bus, count, number, setting, place))
                print(f"replicas, round {number}/{options.rounds}  {into[-1].line()}", file=sys.stderr, flush=True)


async def once(bus: str, count: int, number: int, setting: Setting, place: Place) -> Several:
    """Raises RuntimeError if a server or a load failed."""
    async with several(bus, count, setting, place) as (targets, broker):
        await _loads(targets, replace(WARM, tokens=setting.tokens))
        each = replace(setting, sessions=setting.sessions // count)
        async with AsyncExitStack() as stack:
            loads = [await stack.enter_async_context(connected(target, each)) for target in targets]
            await asyncio.sleep(CONNECTED_S)
            before = _spent(targets, broker, place)
            await asyncio.sleep(IDLE_S)
            idle = _spent(targets, broker, place).since(before)
            before = _spent(targets, broker, place)
            figures = await asyncio.gather(*(load.run() for load in loads))
            await asyncio.sleep(SETTLE_S)
            spent = _spent(targets, broker, place).since(before)
    return _row(bus, count, number, setting, figures, spent, idle)


@asynccontextmanager
async def several(
    bus: str, count: int, setting: Setting, place: Place
) -> AsyncIterator[tuple[list[Server], NatsServer | None]]:
    """So many servers over one database, and what is between them; everybody shares all cores meanwhile."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_everywhere(place))
        environment, broker = dict(setting.environment), None
        if bus == "nats":
            broker = NatsServer()
            stack.push_async_callback(broker.kill)
            await broker.start()
            environment["UNBROKEN_BUS_URL"] = broker.url
        targets = [
            await stack.enter_async_context(
                server(
                    "unbroken",
                    place.database_urls["unbroken"],
                    environment,
                    place.logs / f"replica-{number}.log",
                )
            )
            for number in range(count)
        ]
        yield targets, broker


@contextmanager
def _everywhere(place: Place) -> Iterator[None]:
    """Whoever is pinned elsewhere measures one server with a core to itself. PostgreSQL's next backends follow it."""
    if not place.server_cores:
        yield
        return
    others = os.sched_getaffinity(0)
    try:
        for pid in (0, place.postgres_pid):
            os.sched_setaffinity(pid, others | place.server_cores)
        yield
    finally:
        for pid in (0, place.postgres_pid):
            os.sched_setaffinity(pid, others)


async def _loads(targets: Sequence[Server], setting: Setting) -> None:
    async def run(target: Server) -> None:
        async with connected(target, setting) as load:
            await load.run()

    await asyncio.gather(*map(run, targets))


def _spent(targets: Sequence[Server], broker: NatsServer | None, place: Place) -> Spent:
    return Spent(
        sum(cpu_s(target.pid) for target in targets), cpu_s(place.postgres_pid), cpu_s(broker.pid) if broker else 0.0
    )


def _row(
    bus: str, count: int, number: int, setting: Setting, figures: Sequence[dict[str, Any]], spent: Spent, idle: Spent
) -> Several:
    took_s = max(one["took_s"] for one in figures)
    first, turn = (sorted(s for one in figures for s in one[name]) for name in ("first_token_s", "turn_s"))
    turns = setting.sessions // count * count * setting.turns
    if not len(first) == len(turn) == turns:
        raise RuntimeError(f"{count} replicas, {bus}: {len(turn)} of {turns} turns were measured")
    own = spent.without(idle, (took_s + SETTLE_S) / IDLE_S)
    return Several(
        bus=bus,
        round=number,
        replicas=count,
        sessions=setting.sessions,
        tokens=setting.tokens,
        turns=setting.turns,
        turns_per_s=turns / took_s,
        first_token_p50=quantile_ms(first, 0.5),
        first_token_p99=quantile_ms(first, 0.99),
        turn_p50=quantile_ms(turn, 0.5),
        turn_p99=quantile_ms(turn, 0.99),
        server_cpu=own.servers / turns * 1000,
        postgres_cpu=own.postgres / turns * 1000,
        broker_cpu=own.broker / turns * 1000,
        idle_server_cpu=idle.servers / IDLE_S * 1000,
        idle_postgres_cpu=idle.postgres / IDLE_S * 1000,
        load_busy=sum(one["cpu_s"] for one in figures) / took_s,
        refused=sum(one["refused"] for one in figures),
    )
