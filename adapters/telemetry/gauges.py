"""What stands still at a moment: how much waits in the store, how old this replica's lease is, how busy its pool is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from unbroken.adapters.telemetry import names
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.backlog import Backlog, Backlogs

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
POOL: Final = {"db.client.connection.pool.name": "unbroken"}
STATE: Final = "db.client.connection.state"


class PoolUse(Struct, frozen=True):
    used: int
    idle: int
    most: int


class Gauges:
    """A look at the store every five seconds; between two of them, and to several who scrape, the last one is shown.
    While the store does not answer nothing is shown: what was true before may not be true any more."""

    def __init__(
        self,
        meter: Meter,
        backlogs: Backlogs,
        *,
        replica: int,
        lease_ttl_s: float,
        pool: Callable[[], PoolUse] | None,
        abandoned: Callable[[], int],
    ) -> None:
        """`pool` None: the store needs no connections."""
        self._backlogs = backlogs
        self._replica = replica
        self._seen: Backlog | None = None

        def shown(of: Callable[[Backlog], Mapping[str, float]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
            """`of`: status → value; the empty one is none."""

            def observe(options: CallbackOptions) -> Iterable[Observation]:
                values = of(self._seen) if self._seen else {}
                return [
                    Observation(value, {names.STATUS: status} if status else {}) for status, value in values.items()
                ]

            return observe

        def gauge(name: str, unit: str, what: str, of: Callable[[Backlog], Mapping[str, float]]) -> None:
            meter.create_observable_gauge(name, [shown(of)], unit, what)

        gauge("unbroken.queue.depth", "{event}", "Accepted events without an end", lambda seen: {"": seen.events})
        gauge("unbroken.queue.oldest", "s", "Age of the oldest of them", lambda seen: {"": seen.oldest_event_s})
        gauge(
            "unbroken.effects.unfinished",
            "{effect}",
            "Effects to be executed",
            lambda seen: {"pending": seen.effects_pending, "executing": seen.effects_executing},
        )
        gauge("unbroken.dead_letters", "{effect}", "Effects given up for good", lambda seen: {"": seen.dead_letters})
        gauge(
            "unbroken.lease.age",
            "s",
            "Since this replica's lease was renewed",
            lambda seen: {"": max(0.0, lease_ttl_s - seen.lease_left_s)},
        )
        meter.create_observable_gauge(
            "unbroken.abandoned",
            [lambda options: [Observation(abandoned())]],
            "{attempt}",
            "Attempts that run on although they were stopped",
        )
        if pool is not None:
            self._watch(meter, pool)

    async def forever(self) -> None:
        while True:
            try:
                self._seen = await self._backlogs.measure(replica=self._replica)
            except Unavailable as error:
                self._seen = None
                log.debug("nothing is known of the backlog: %s", error)
            await asyncio.sleep(LOOK_S)

    def _watch(self, meter: Meter, pool: Callable[[], PoolUse]) -> None:
        def connections(options: CallbackOptions) -> Iterable[Observation]:
            use = pool()
            return [Observation(use.used, POOL | {STATE: "used"}), Observation(use.idle, POOL | {STATE: "idle"})]

        meter.create_observable_up_down_counter(
            "db.client.connection.count", [connections], "{connection}", "Connections that are open"
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.max",
            [lambda options: [Observation(pool().most, POOL)]],
            "{connection}",
            "Connections that may be open",
        )
