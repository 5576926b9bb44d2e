"""What runs here is shown only while this replica's lease is held, by its own clock.

    held ──the lease ends──▶ nothing live leaves ──renewed──▶ in doubt ──the store──▶ still ours: shown again
                             (turns go on, logs are                       │
                              delivered, the store decides)               └──▶ taken over: its gate closes, fenced

A process that was stopped, or that does not reach the database, does not know that others have taken over from it. It
need not: by the time they may, it has fallen silent. Afterwards the store is asked once about all that runs here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from unbroken.application.event_queue import EventQueue
from unbroken.application.live_sessions import LiveSessions
from unbroken.application.session_processor import SessionProcessor
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim

log = logging.getLogger(__name__)

PAUSE_S = 0.2
"""Between two questions to a store that does not answer."""
LATE_S = 20.0
"""After a lapse: what was asked of the store before it has been answered by then, or never is (the driver gives up
after 15 s). An attempt that begins sooner may have been counted before the lapse, and taken over in it."""


class OwnClock:
    def __init__(
        self,
        *,
        sessions: Sessions,
        queue: EventQueue,
        processor: SessionProcessor,
        live: LiveSessions,
        clock: Clock,
        replica: int,
    ) -> None:
        self._sessions = sessions
        self._queue = queue
        self._processor = processor
        self._live = live
        self._clock = clock
        self._replica = replica
        self._lapses = 0
        self._late_until = float("-inf")
        self._regained = asyncio.Event()
        live.on_begin = self.begins

    def regained(self) -> None:
        """The lease was over and is held again: whatever was counted before is somebody else's by now, or is not."""
        self._live.doubted |= self._queue.newest
        self._lapses += 1
        self._late_until = self._clock.monotonic() + LATE_S
        self._regained.set()

    def begins(self, claim: Claim) -> None:
        """An attempt is about to begin here."""
        if self._clock.monotonic() < self._late_until:
            self._live.doubted[claim.key.thread_id] = claim.run
            self._regained.set()

    async def once(self) -> None:
        """Ask the store about everything in doubt. Raises StoreUnavailable."""
        lapses, asked = self._lapses, dict(self._live.doubted)
        standing = await self._sessions.standing(replica=self._replica)
        if lapses == self._lapses:  # else the answer may be older than the latest lapse
            self._settle(asked, standing)

    async def forever(self) -> None:
        while True:
            await self._regained.wait()
            self._regained.clear()
            try:
                await self.once()
            except Unavailable as error:
                log.warning("cannot ask yet what is still this replica's: %s", error)
                self._regained.set()
                await self._clock.sleep(PAUSE_S)

    def _settle(self, asked: Mapping[str, int], standing: Mapping[str, int]) -> None:
        """Its answer says nothing of what has come to be in doubt since the store was asked. What is taken over and has
        not begun here stays in doubt, and so unshown, as long as its session has work here."""
        doubted = self._live.doubted
        for claim in self._processor.claims:
            thread_id = claim.key.thread_id
            if claim.run <= asked.get(thread_id, 0) and standing.get(thread_id) != claim.run:
                self._processor.fence(claim)
        for thread_id, run in asked.items():
            settled = standing.get(thread_id) == run or not self._queue.knows(thread_id)
            if settled and doubted.get(thread_id) == run:
                del doubted[thread_id]
        for claim in self._processor.claims:
            self._live.notify(claim.key)
