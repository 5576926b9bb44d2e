"""Deletes what is left of runs without a thread: each has one of its own, which whoever follows it deletes at its end,
unless that process has stopped or died in between."""

from __future__ import annotations

import logging

from unbroken.application.delete_thread import DeleteThread
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.user_data import UserData

log = logging.getLogger(__name__)

BATCH = 500
IDLE_S = 600.0
"""How long ago everything in the thread has ended: until then whoever was cut off may come back for its result."""
INTERVAL_S = 60.0
"""Between two looks."""
PAUSE_S = 1.0
"""Between two batches."""


class SweepTemporary:
    def __init__(self, *, user_data: UserData, delete: DeleteThread, clock: Clock) -> None:
        self._user_data = user_data
        self._delete = delete
        self._clock = clock
        self._after = ""

    async def once(self) -> bool:
        """Look at one batch; True: nothing more is to be looked at now. Raises StoreUnavailable, CommitUnknown."""
        expired = await self._user_data.expire_temporary(idle_s=IDLE_S, after=self._after, limit=BATCH)
        self._after = expired.resume_after
        for key in expired.deleted:
            self._delete.evict(key)
        if expired.deleted:
            log.info("deleted %d threads of runs without one, which nobody had deleted", len(expired.deleted))
        return not self._after

    async def forever(self) -> None:
        while True:
            try:
                over = await self.once()
            except Unavailable as error:
                log.warning("threads of runs without one wait for the store: %s", error)
                over = True
            await self._clock.sleep(INTERVAL_S if over else PAUSE_S)
