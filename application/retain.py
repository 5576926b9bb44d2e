"""Deletes threads in which nothing was said for longer than they are to be kept."""

from __future__ import annotations

import logging

from unbroken.application.delete_thread import DeleteThread
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.user_data import UserData

log = logging.getLogger(__name__)

BATCH = 200
DAY_S = 86_400.0
PAUSE_S = 1.0
"""Between two batches."""
REST_S = 3_600.0
"""Longest pause between two walks through all threads; a tenth of what they are kept, where that is shorter."""
LEAST_REST_S = 60.0


class Retain:
    def __init__(self, *, user_data: UserData, delete: DeleteThread, clock: Clock, days: float | None) -> None:
        """`days` None: threads are kept for ever."""
        self._user_data = user_data
        self._delete = delete
        self._clock = clock
        self._days = days
        self._rest_s = REST_S if days is None else max(LEAST_REST_S, min(REST_S, days * DAY_S / 10))
        self._after = ""

    async def once(self) -> bool:
        """Look at one batch; True: the walk is over, and the next call begins anew. Raises Unavailable."""
        if self._days is None:
            return True
        expired = await self._user_data.expire(idle_s=self._days * DAY_S, after=self._after, limit=BATCH)
        self._after = expired.resume_after
        for key in expired.deleted:
            self._delete.evict(key)
        if expired.deleted:
            log.info("deleted %d threads that were silent for %g days", len(expired.deleted), self._days)
        return not self._after

    async def forever(self) -> None:
        while True:
            try:
                over = await self.once()
            except Unavailable as error:
                log.warning("old threads wait for the store: %s", error)
                over = False
            await self._clock.sleep(self._rest_s if over else PAUSE_S)
