"""Turns due timers into events. The accept decides whether a timer still stands (I10)."""

from __future__ import annotations

import logging

from unbroken.application.accept_event import AcceptEvent
from unbroken.domain.errors import Conflict, Refused, Unavailable
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

    async def once(self) -> int:
        """Promote what is due; returns how many fired. Raises StoreUnavailable."""
        fired = 0
        for timer in await self._timers.due(limit=BATCH):
            fired += await self._fire(timer)
        return fired

    async def forever(self) -> None:
        while True:
            pause_s = self._interval_s
            try:
                await self.once()
                next_s = await self._timers.next_due_s()
                if next_s is not None:
                    pause_s = min(pause_s, max(0.01, next_s))
            except Unavailable as error:
                log.warning("timers wait for the store: %s", error)
            await self._clock.sleep(pause_s)

    async def _fire(self, timer: DueTimer) -> bool:
        body = TimerFired(timer.timer_id, timer.generation, timer.payload)
        try:
            await self._accept(timer.key, f"timer:{timer.timer_id}:{timer.generation}", body)
        except Conflict:
            return False
        except Refused as error:
            log.warning("timer cannot fire: %s", error, extra={"session": str(timer.key)})
            return False
        return True
