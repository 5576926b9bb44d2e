"""Keeps a replica's lease alive from a thread and a connection of its own.

An event loop that is busy, or a pool that is exhausted, must not look like a dead process: its sessions would be
taken over in the middle of their answers.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVarTuple, Unpack

import asyncpg

from unbroken.adapters.postgres.errors import DRIVER_ERRORS
from unbroken.adapters.postgres.pool import connect
from unbroken.adapters.postgres.replicas import RENEW
from unbroken.domain.errors import UnbrokenError
from unbroken.domain.ports.lease import Lease

log = logging.getLogger(__name__)

Ts = TypeVarTuple("Ts")

PAUSE_S: Final = 0.5
"""Between two tries at a renewal that failed: until one succeeds, nothing of the dead can be taken over."""
ANSWER_TIMEOUT_S: Final = 3.0
"""For connecting and for one renewal; also the longest that `stop` can take."""


moment: Final[Callable[[], float]] = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds that never go back and, where the system has such a clock, go on while the machine sleeps, as the database's
do."""


class Heartbeat(Lease):
    """Renews the lease of `replica` every `interval_s` for another `lease_ttl_s`, by the database's clock.

    `on_lost` is called once, on the event loop that called `start`, when the lease cannot be had any more: a later
    boot has replaced this one, or it has left. A database that does not answer is not that: while it is away nobody
    else can take over either, and the first renewal after it makes the lease good again.
    """

    def __init__(
        self,
        url: str,
        replica: int,
        *,
        lease_ttl_s: float,
        interval_s: float,
        on_lost: Callable[[], None],
        on_alive: Callable[[int], None] = lambda alive: None,
        joined_at: float = float("-inf"),
    ) -> None:
        """`on_alive`: told, on that event loop, with each renewal how many replicas are alive, this one included.
        `joined_at`: the `moment` before `replica` joined for `lease_ttl_s`; without it nothing is held until the
        first renewal."""
        self._url = url
        self._replica = replica
        self._lease_ttl_s = lease_ttl_s
        self._interval_s = interval_s
        self._on_lost = on_lost
        self._on_alive = on_alive
        self._held_until = joined_at + lease_ttl_s
        self._on_regained: list[Callable[[], None]] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._callers_loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Call on the running event loop that `on_lost` is meant for."""
        self._callers_loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._beat, name="unbroken-heartbeat", daemon=True)
        self._thread.start()

    def held(self) -> bool:
        return moment() < self._held_until

    def listen(self, on_regained: Callable[[], None]) -> None:
        self._on_regained.append(on_regained)

    async def stop(self) -> None:
        """No renewal happens after this returns; `on_lost` is not called any more."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _beat(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._renew_until_stopped())

    async def _renew_until_stopped(self) -> None:
        connection: asyncpg.Connection | None = None
        try:
            while not self._stopping.is_set():
                pause_s, failed = self._interval_s, False
                try:
                    if connection is None or connection.is_closed():
                        connection = await connect(self._url, timeout_s=ANSWER_TIMEOUT_S)
                    sent = moment()
                    alive = await connection.fetchval(RENEW, self._replica, self._lease_ttl_s, timeout=ANSWER_TIMEOUT_S)
                    if not alive:
                        self._held_until = float("-inf")
                        self._tell(self._on_lost)
                        return
                    self._renewed(sent + self._lease_ttl_s)
                    self._tell(self._on_alive, alive)
                except (*DRIVER_ERRORS, UnbrokenError) as error:
                    log.warning("the lease could not be renewed, trying again: %s", error)
                    failed = True
                except Exception:
                    log.exception("the lease could not be renewed, trying again")
                    failed = True
                if failed:
                    if connection is not None:
                        connection.terminate()
                    pause_s = min(pause_s, PAUSE_S)
                # In this thread nothing else runs on the loop, so it may be blocked.
                self._stopping.wait(pause_s)
        finally:
            if connection is not None:
                with suppress(*DRIVER_ERRORS):
                    await connection.close(timeout=1.0)

    def _renewed(self, until: float) -> None:
        """What was held without a break goes on at once, whatever the loop is busy with. After a break it is for the
        loop to take it up: nothing may be shown before everybody was told that there was one."""
        before = self._held_until
        if moment() < before:
            self._held_until = until
            if moment() < before:
                return
        self._tell(self._regain, until)

    def _regain(self, until: float) -> None:
        self._held_until = max(self._held_until, until)
        if self.held():
            for on_regained in self._on_regained:
                on_regained()

    def _tell(self, listener: Callable[[Unpack[Ts]], None], *what: *Ts) -> None:
        if not self._stopping.is_set() and self._callers_loop is not None:
            with suppress(RuntimeError):  # that loop has ended, and everything with it
                self._callers_loop.call_soon_threadsafe(listener, *what)
