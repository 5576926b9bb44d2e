"""Polling, the fallback of every hint: what was accepted is found again without anyone's help (I13).

Of what a dead replica leaves, each of the living takes its own share at its first look, and whatever is left of the
others' at its second: so nobody gets all of it, and nothing waits for a replica that does not come.
"""

from __future__ import annotations

import logging

from unbroken.application.event_queue import EventQueue
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions

log = logging.getLogger(__name__)

BATCH = 10_000
"""More than run here at once: the sessions that this replica works on are among the strays."""
CATCH_UP_S = 0.8
"""Between two questions whether readers have missed anything. Looks for work do not wait for the answers."""


class Recover:
    def __init__(self, *, sessions: Sessions, queue: EventQueue, clock: Clock, replica: int, interval_s: float) -> None:
        self._sessions = sessions
        self._queue = queue
        self._clock = clock
        self._replica = replica
        self._interval_s = interval_s
        self._left: frozenset[str] = frozenset()
        """Strays that the last look left to others."""

    async def once(self) -> int:
        """Hint every stray session that is this replica's to take and that nothing here is working on; returns how
        many. Raises StoreUnavailable."""
        strays = await self._sessions.strays(replica=self._replica, limit=BATCH)
        others = frozenset(thread_id for thread_id in strays.left if not strays.falls_here(thread_id))
        found = 0
        for thread_id in strays.threads:
            if (thread_id not in others or thread_id in self._left) and not self._queue.knows(thread_id):
                self._queue.hint(thread_id)
                found += 1
        self._left = others
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

    async def catch_up_forever(self) -> None:
        while True:
            try:
                await self._queue.catch_up()
            except Unavailable as error:
                log.warning("cannot look yet for what others did: %s", error)
            await self._clock.sleep(CATCH_UP_S)
