"""Turns due timers into events. The accept decides whether a timer still stands (I10)."""

from __future__ import annotations

import asyncio
import logging

from unbroken.application.accept_event import AcceptEvent
from unbroken.domain.errors import Conflict, QueueFull, Refused, TimerGone, Unavailable
from unbroken.domain.events import TimerFired
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.timers import DueTimer, Timers

log = logging.getLogger(__name__)

BATCH = 100


class FireTimers:
    def __init__(self, *, timers: Timers, accept: AcceptEvent, clock: Clock, interval_s: float) -> None:
        self._timers = timers
        self._accept = accept
        self._clock = clock
        self._interval_s = interval_s
        self._stuck: set[tuple[str, str, int]] = set()
        """Due timers that could not fire at the last look: they must neither hide others nor hurry the next look."""

    async def once(self) -> int:
        """Promote what is due; returns how many fired. Raises StoreUnavailable, CommitUnknown."""
        fired = 0
        stuck: set[tuple[str, str, int]] = set()
        for timer in await self._timers.due(limit=BATCH + len(self._stuck)):
            try:
                await self._fire(timer)
                fired += 1
            except TimerGone:
                pass
            except (Refused, Conflict, QueueFull) as error:
                place = (timer.key.thread_id, timer.timer_id, timer.generation)
                stuck.add(place)
                if place not in self._stuck:
                    log.warning("timer cannot fire: %s", error, extra={"session": str(timer.key)})
        self._stuck = stuck
        return fired

    async def forever(self) -> None:
        while True:
            pause_s = self._interval_s
            try:
                await self.once()
                next_s = await self._timers.next_due_s()
                if next_s is not None and not self._stuck:
                    pause_s = min(pause_s, max(0.01, next_s))
            except Unavailable as error:
                log.warning("timers wait for the store: %s", error)
            await self._clock.sleep(pause_s)

    async def _fire(self, timer: DueTimer) -> None:
        """The request id holds a character that no client's may: nobody can take it before the timer does."""
        body = TimerFired(timer.timer_id, timer.generation, timer.payload)
        request_id = f"timer:{timer.timer_id}/{timer.generation}"
        accept = asyncio.ensure_future(self._accept(timer.key, request_id, body, trace_context=timer.trace_context))
        try:
            await asyncio.shield(accept)
        except asyncio.CancelledError:
            # What was claimed by then is handed in, and the queue gives it back. Nobody would if its accept were gone.
            await asyncio.wait({accept})
            if not accept.cancelled():
                accept.exception()
            raise
