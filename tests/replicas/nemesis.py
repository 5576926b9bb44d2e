"""What goes wrong, at random moments: one thing after another with replicas and their database, and beside it one after
another with sockets and the broker. Whatever strikes is written down as a fault, for the checker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import asyncpg

from tests.checker.history import Fault
from tests.replicas.place import LEASE_S, Place, Replica

PAUSE_S: Final = 5.0
LESS_BESIDE: Final = 1.4
"""So much longer are the pauses of what strikes sockets and the broker."""
BEYOND_S: Final = LEASE_S + 2.5
"""Long enough for others to take over."""
AFTERMATH_S: Final = 2.0
"""What a fault still disturbs when it is over: connections are made anew, processes have started."""
LATE_S: Final = 0.25
TICK_S: Final = 0.1
WARM_S: Final = 5.0
"""What processes get that have just started, and everybody comes at once."""
FLUSH: Final = "SELECT pg_logical_emit_message(true, 'machine', '')"
"""The least that PostgreSQL can be asked to write to its disk."""

PROCESSES: Final = ("kill", "kill", "kill", "kill", "stall", "stall", "stall", "deploy", "deploy")
DATABASE: Final = ("restart", "terminate", "sever", "sever", "partition", "partition")
BESIDE: Final = ("cut", "cut", "hold")
BROKER: Final = ("broker_cut", "broker_cut", "broker_hold", "broker_hold", "broker_kill")
COSTS: Final = {"kill": 1, "stall": 1, "deploy": 1, "restart": 3, "terminate": 2, "sever": 2, "partition": 2}
"""Attempts of one event that a fault may cost at most: what is under way, a commit in doubt, a lease that lapses."""


class Nemesis:
    def __init__(self, random: Random, place: Place, *, pause_s: float = PAUSE_S) -> None:
        """`pause_s`: between two strikes, on average."""
        self.struck: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.broken: list[str] = []
        self._random = random
        self._place = place
        self._pause_s = pause_s
        self._probe: asyncpg.Connection[Any] | None = None
        self._under_way: set[asyncio.Task[Fault]] = set()
        self._strikes: dict[str, Callable[[Replica], Awaitable[None]]] = {
            "kill": self._kill,
            "stall": self._stall,
            "deploy": self._deploy,
            "restart": self._restart,
            "terminate": self._terminate,
            "sever": self._sever,
            "partition": self._partition,
            "cut": self._cut,
            "hold": self._hold,
            "broker_cut": self._broker_cut,
            "broker_hold": self._broker_hold,
            "broker_kill": self._broker_kill,
        }

    async def forever(self) -> None:
        self.faults.append(Fault("start", time.time() - WARM_S, time.time() + WARM_S))
        beside = BESIDE + (BROKER if self._place.broker is not None else ())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._haunt(PROCESSES + DATABASE, self._pause_s))
            group.create_task(self._haunt(beside, self._pause_s * LESS_BESIDE))
            group.create_task(self._listen_to_the_machine(self._tick))
            group.create_task(self._listen_to_the_machine(self._flush))
            group.create_task(self._look_after_replicas())

    async def _haunt(self, kinds: tuple[str, ...], pause_s: float) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / pause_s))
            strike = asyncio.create_task(self.strike(self._random.choice(kinds)))
            self._under_way.add(strike)
            strike.add_done_callback(self._under_way.discard)
            await asyncio.shield(strike)

    async def calm(self) -> None:
        """Whoever has ended `forever` waits here: what has begun is brought to its end, and who was killed is back."""
        await asyncio.gather(*self._under_way)
        if self._probe is not None:
            self._probe.terminate()

    async def strike(self, kind: str, replica: Replica | None = None) -> Fault:
        """Returns when it is over. `replica` None: any of them."""
        victim = replica or self._random.choice(self._place.replicas)
        began = time.time()
        try:
            await self._strikes[kind](victim)
        except AssertionError as error:  # it did not start, or did not stop
            self.broken.append(f"{victim.name}, {kind}: {error}")
        self.struck[kind] += 1
        fault = Fault(kind, began, time.time() + AFTERMATH_S, victim.name, costs_attempts=kind in COSTS)
        self.faults += [fault] * COSTS.get(kind, 1)
        return fault

    async def _kill(self, replica: Replica) -> None:
        """Half of the dead come back at once, and void their own lease; the others when somebody has taken over."""
        await replica.kill()
        if self._random.random() < 0.5:
            await asyncio.sleep(self._random.uniform(BEYOND_S, BEYOND_S + 2.0))
        await replica.start()

    async def _stall(self, replica: Replica) -> None:
        replica.stall()
        await asyncio.sleep(self._random.choice((0.5, BEYOND_S, BEYOND_S)))
        replica.thaw()

    async def _deploy(self, replica: Replica) -> None:
        code = await replica.stop()
        if code != 0:
            self.broken.append(f"{replica.name}: told to stop, it ended with {code}")
        await replica.start()

    async def _restart(self, _: Replica) -> None:
        await asyncio.to_thread(self._place.database.restart, immediate=True)

    async def _terminate(self, _: Replica) -> None:
        await self._place.terminate_backends()

    async def _sever(self, replica: Replica) -> None:
        replica.wire.cut()

    async def _partition(self, replica: Replica) -> None:
        """From the database: connections stay, and nothing flows."""
        replica.wire.hold()
        await asyncio.sleep(self._random.choice((1.0, BEYOND_S)))
        if self._random.random() < 0.5:
            replica.wire.cut()
        replica.wire.release()

    async def _cut(self, replica: Replica) -> None:
        replica.sockets.cut()

    async def _hold(self, replica: Replica) -> None:
        replica.sockets.hold()
        await asyncio.sleep(self._random.uniform(0.5, 3.0))
        replica.sockets.release()

    async def _broker_cut(self, replica: Replica) -> None:
        assert replica.line is not None
        replica.line.cut()

    async def _broker_hold(self, replica: Replica) -> None:
        assert replica.line is not None
        replica.line.hold()
        await asyncio.sleep(self._random.uniform(1.0, 8.0))
        if self._random.random() < 0.5:
            replica.line.cut()
        replica.line.release()

    async def _broker_kill(self, _: Replica) -> None:
        assert self._place.broker is not None
        await self._place.broker.kill()
        await asyncio.sleep(self._random.uniform(0.0, 5.0))
        await self._place.broker.start()

    async def _listen_to_the_machine(self, ask: Callable[[], Awaitable[None]]) -> None:
        """A machine that lets even this process, or a single write of PostgreSQL's, wait makes no promises of seconds;
        replicas on it may lose a lease."""
        while True:
            before = time.time()
            await ask()
            late = time.time() - before - TICK_S
            if late > LATE_S:
                costs = late > LEASE_S / 3
                self.faults.append(Fault("machine", before, time.time() + AFTERMATH_S, costs_attempts=costs))

    async def _tick(self) -> None:
        await asyncio.sleep(TICK_S)

    async def _flush(self) -> None:
        """Past all proxies. While the database is down, that is a fault of its own."""
        await asyncio.sleep(TICK_S)
        try:
            if self._probe is None or self._probe.is_closed():
                self._probe = await asyncpg.connect(self._place.database.url, timeout=5)
            await self._probe.execute(FLUSH, timeout=10)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            if self._probe is not None:
                self._probe.terminate()  # after a statement that was given up the driver is in no state for another

    async def _look_after_replicas(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for replica in self._place.replicas:
                if replica.ended_by_itself():
                    self.broken.append(f"{replica.name} ended by itself: {replica.server.said()[-1500:]}")
                    await replica.start()
