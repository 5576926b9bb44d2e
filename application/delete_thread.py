"""End a thread for good: in the store first, then for whoever works on it or watches it here."""

from __future__ import annotations

import logging
from typing import Final

from unbroken.application.event_queue import EventQueue
from unbroken.application.live_sessions import LiveSessions
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.threads import Threads
from unbroken.domain.session import SessionKey

log = logging.getLogger(__name__)

EVERY_EVENT: Final = 2**62


class DeleteThread:
    def __init__(
        self, *, threads: Threads, queue: EventQueue, live: LiveSessions, clock: Clock, interval_s: float
    ) -> None:
        self._threads = threads
        self._queue = queue
        self._live = live
        self._clock = clock
        self._interval_s = interval_s

    async def __call__(self, user_id: str, thread_id: str) -> None:
        """When this returns, nothing of the thread is stored but its tombstone, the attempt that ran here has no
        output any more, and its readers here have been told. Raises NotYourThread, StoreUnavailable, CommitUnknown."""
        self.evict(await self._threads.delete(user_id, thread_id))

    def evict(self, key: SessionKey) -> None:
        """A thread's deletion is durable: end what is here of it. Its attempt finds out by itself that it is fenced."""
        self._live.remove(key)
        self._queue.stop(key.thread_id, "rollback", first=0, last=EVERY_EVENT)

    async def once(self) -> None:
        """Evict what was deleted elsewhere: by another replica, or on the command line. Raises StoreUnavailable."""
        known = {key.thread_id: key for key in self._live.stored()}
        if known:
            for thread_id in await self._threads.gone(known.keys()):
                self.evict(known[thread_id])

    async def forever(self) -> None:
        while True:
            await self._clock.sleep(self._interval_s)
            try:
                await self.once()
            except Unavailable as error:
                log.warning("cannot look for deleted threads yet: %s", error)
