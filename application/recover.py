"""Polling, the fallback of every hint: what was accepted is found again without anyone's help (I13)."""

from __future__ import annotations

import logging

from unbroken.application.event_queue import EventQueue
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions

log = logging.getLogger(__name__)

BATCH = 10_000
"""More than run here at once: the sessions that this replica works on are among the strays."""


class Recover:
    def __init__(self, *, sessions: Sessions, queue: EventQueue, clock: Clock, replica: int, interval_s: float) -> None:
        self._sessions = sessions
        self._queue = queue
        self._clock = clock
        self._replica = replica
        self._interval_s = interval_s

    async def once(self) -> int:
        """Hint every stray session that nothing here is working on; returns how many. Raises StoreUnavailable."""
        found = 0
        for thread_id in await self._sessions.strays(replica=self._replica, limit=BATCH):
            if not self._queue.knows(thread_id):
                self._queue.hint(thread_id)
                found += 1
        await self._queue.catch_up()
        if found:
            log.info("taking up %d sessions with unfinished events", found)
        return found

    async def forever(self) -> None:
        while True:
            try:
                await self.once()
            except Unavailable as error:
                log.warning("cannot look for unfinished events yet: %s", error)
            await self._clock.sleep(self._interval_s)
