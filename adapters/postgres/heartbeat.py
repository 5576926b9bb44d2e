"""Keeps a replica's lease alive from a thread and a connection of its own.

An event loop that is busy, or a pool that is exhausted, must not look like a dead process: its sessions would be
taken over in the middle of their answers.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVarTuple, Unpack

import asyncpg

from unbroken.adapters.postgres.errors import DRIVER_ERRORS
from unbroken.adapters.postgres.pool import connect
from unbroken.adapters.postgres.replicas import RENEW
from unbroken.domain.errors import UnbrokenError

log = logging.getLogger(__name__)

Ts = TypeVarTuple("Ts")

PAUSE_S: Final = 0.5
"""Between two tries at a renewal that failed: until one succeeds, nothing of the dead can be taken over."""
ANSWER_TIMEOUT_S: Final = 3.0
"""For connecting and for one renewal; also the longest that `stop` can take."""


class Heartbeat:
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
    ) -> None:
        """`on_alive`: told, on that event loop, with each renewal how many replicas are alive, this one included."""
        self._url = url
        self._replica = replica
        self._lease_ttl_s = lease_ttl_s
        self._interval_s = interval_s
        self._on_lost = on_lost
        self._on_alive = on_alive
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._callers_loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Call on the running event loop that `on_lost` is meant for."""
        self._callers_loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._beat, name="unbroken-heartbeat", daemon=True)
        self._thread.start()

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
                pause_s = self._interval_s
                try:
                    if connection is None or connection.is_closed():
                        connection = await connect(self._url, timeout_s=ANSWER_TIMEOUT_S)
                    alive = await connection.fetchval(RENEW, self._replica, self._lease_ttl_s, timeout=ANSWER_TIMEOUT_S)
                    if not alive:
                        self._tell(self._on_lost)
                        return
                    self._tell(self._on_alive, alive)
                except (*DRIVER_ERRORS, UnbrokenError) as error:
                    log.warning("the lease could not be renewed, trying again: %s", error)
                    if connection is not None:
                        connection.terminate()
                    pause_s = min(pause_s, PAUSE_S)
                # In this thread nothing else runs on the loop, so it may be blocked.
                self._stopping.wait(pause_s)
        finally:
            if connection is not None:
                with suppress(*DRIVER_ERRORS):
                    await connection.close(timeout=1.0)

    def _tell(self, listener: Callable[[Unpack[Ts]], None], *what: *Ts) -> None:
        if not self._stopping.is_set() and self._callers_loop is not None:
            with suppress(RuntimeError):  # that loop has ended, and everything with it
                self._callers_loop.call_soon_threadsafe(listener, *what)
