"""Part `idle`: what sockets cost that say nothing, and whether the one that talks notices them."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from benchmarks.measure import cpu_s, own_bytes
from benchmarks.report import quantile_ms
from benchmarks.runs import Place, Setting, connected
from benchmarks.servers import Server, server
from benchmarks.turns import turned

KINDS: Final = ("direct-memory", "unbroken")
WARM = Setting("no delay", tokens=64, sessions=1, turns=50)
ACTIVE = Setting("no delay", tokens=64, sessions=1, turns=200)
QUIET_S: Final = 2.0
"""What a server gets to be done with connections it has taken."""
WATCHED_S: Final = 4.0


@dataclass(frozen=True)
class Idle:
    """A server with so many idle sockets. Times in ms, of one active session beside them."""

    kind: str
    round: int
    sockets: int
    socket_kb: float
    """Memory of the server for each, beyond what it took without any; 0 without any."""
    server_cpu: float
    """CPU in ms a second while nobody says anything."""
    postgres_cpu: float
    first_token_p50: float
    first_token_p95: float
    turn_p50: float
    turn_p95: float
    turn_p99: float

    @property
    def cell(self) -> tuple[str, int]:
        return (self.kind, self.sockets)

    def line(self) -> str:
        return (
            f"{self.kind:16} {self.sockets:5} idle sockets: {self.socket_kb:5.1f} KB each, {self.server_cpu:6.2f} + "
            f"{self.postgres_cpu:5.2f} ms of CPU a second; beside them first token {self.first_token_p50:.2f} ms, "
            f"turn {self.turn_p50:.2f} ms"
        )


async def measure(options: argparse.Namespace, place: Place, into: list[Idle]) -> None:
    for number in range(1, options.rounds + 1):
        for kind in turned(KINDS, number):
            log = place.logs / f"idle-{kind}.log"
            environment = ACTIVE.environment
            with place.going_on():
                async with server(kind, place.database_urls[kind], environment, log, place.server_cores) as target:
                    await _crowds(options, target, number, place, into)


async def _crowds(options: argparse.Namespace, target: Server, number: int, place: Place, into: list[Idle]) -> None:
    """One server's life: alone, then with more and more idle sockets."""
    async with connected(target, WARM) as load:
        await load.run()
    await asyncio.sleep(QUIET_S)
    alone_bytes, open_sockets = own_bytes(target.pid), 0
    async with AsyncExitStack() as crowds:
        for sockets in (0, *sorted(options.idle)):
            if sockets:
                crowd = Setting("no delay", 64, sessions=sockets - open_sockets, turns=0)
                await crowds.enter_async_context(connected(target, crowd))
                open_sockets = sockets
                await asyncio.sleep(QUIET_S)
            socket_kb = (own_bytes(target.pid) - alone_bytes) / sockets / 1024 if sockets else 0.0
            into.append(await _watched(target, number, sockets, socket_kb, place))
            print(f"idle, round {number}/{options.rounds}  {into[-1].line()}", file=sys.stderr, flush=True)


async def _watched(target: Server, number: int, sockets: int, socket_kb: float, place: Place) -> Idle:
    before = cpu_s(target.pid), cpu_s(place.postgres_pid)
    await asyncio.sleep(WATCHED_S)
    server_s, postgres_s = cpu_s(target.pid) - before[0], cpu_s(place.postgres_pid) - before[1]
    async with connected(target, ACTIVE) as load:
        figures = await load.run()
    first, turn = (sorted(figures[name]) for name in ("first_token_s", "turn_s"))
    return Idle(
        kind=target.kind,
        round=number,
        sockets=sockets,
        socket_kb=socket_kb,
        server_cpu=server_s / WATCHED_S * 1000,
        postgres_cpu=postgres_s / WATCHED_S * 1000,
        first_token_p50=quantile_ms(first, 0.5),
        first_token_p95=quantile_ms(first, 0.95),
        turn_p50=quantile_ms(turn, 0.5),
        turn_p95=quantile_ms(turn, 0.95),
        turn_p99=quantile_ms(turn, 0.99),
    )
