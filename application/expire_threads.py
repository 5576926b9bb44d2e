"""Deletes threads whose time is over, batch by batch: those in which nothing was said for longer than they are to be
kept, and those that were made for one run, which whoever follows it deletes at its end, unless that process has stopped
or died in between."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from unbroken.application.delete_thread import DeleteThread
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.user_data import Expired, UserData

log = logging.getLogger(__name__)

DAY_S = 86_400.0
KEPT_BATCH = 200
TEMPORARY_BATCH = 500
TEMPORARY_IDLE_S = 600.0
"""How long ago everything in the thread of a run has ended: until then whoever was cut off may come back for its
result."""
PAUSE_S = 1.0
"""Between two batches."""
REST_S = 3_600.0
"""Longest pause between two walks through all threads; a tenth of what they are kept, where that is shorter."""
LEAST_REST_S = 60.0
"""Shortest, and after a look that the store did not answer."""


class ExpireThreads:
    def __init__(
        self,
        expire: Callable[[str], Awaitable[Expired]],
        *,
        which: str,
        rest_s: float,
        delete: DeleteThread,
        clock: Clock,
    ) -> None:
        """`expire`: deletes what is due in the batch of threads above an id; raises Unavailable. `which`: threads, for
        the log. `rest_s`: between two walks."""
        self._expire = expire
        self._which = which
        self._rest_s = rest_s
        self._delete = delete
        self._clock = clock
        self._after = ""

    async def once(self) -> bool:
        """Look at one batch; True: the walk is over, and the next call begins anew. Raises Unavailable."""
        expired = await self._expire(self._after)
        self._after = expired.resume_after
        for key in expired.deleted:
            self._delete.evict(key)
        if expired.deleted:
            log.info("deleted %d threads %s", len(expired.deleted), self._which)
        return not self._after

    async def forever(self) -> None:
        while True:
            try:
                rest_s = self._rest_s if await self.once() else PAUSE_S
            except Unavailable as error:
                log.warning("threads %s wait for the store: %s", self._which, error)
                rest_s = LEAST_REST_S
            await self._clock.sleep(rest_s)


def of_silent_threads(*, user_data: UserData, delete: DeleteThread, clock: Clock, days: float | None) -> ExpireThreads:
    """`days` None: threads are kept for ever."""

    async def expire(after: str) -> Expired:
        if days is None:
            return Expired((), "")
        return await user_data.expire(idle_s=days * DAY_S, after=after, limit=KEPT_BATCH)

    rest_s = REST_S if days is None else max(LEAST_REST_S, min(REST_S, days * DAY_S / 10))
    return ExpireThreads(expire, which=f"silent for {days} days", rest_s=rest_s, delete=delete, clock=clock)


def of_temporary_threads(*, user_data: UserData, delete: DeleteThread, clock: Clock) -> ExpireThreads:
    async def expire(after: str) -> Expired:
        return await user_data.expire_temporary(idle_s=TEMPORARY_IDLE_S, after=after, limit=TEMPORARY_BATCH)

    return ExpireThreads(
        expire, which="of runs without one, left over,", rest_s=LEAST_REST_S, delete=delete, clock=clock
    )
