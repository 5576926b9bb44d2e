"""Removes items of the long-term store whose time to live is over. Nobody is given them any more, swept or not."""

from __future__ import annotations

import logging

from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.items import Items

log = logging.getLogger(__name__)

BATCH = 1_000
INTERVAL_S = 300.0
"""Between two looks, where a project does not say."""
PAUSE_S = 1.0
"""Between two batches."""


class SweepItems:
    def __init__(self, items: Items, clock: Clock, interval_s: float = INTERVAL_S) -> None:
        self._items = items
        self._clock = clock
        self._interval_s = interval_s

    async def once(self) -> bool:
        """Remove one batch; True: nothing more is to be removed now. Raises Unavailable."""
        swept = await self._items.sweep(BATCH)
        if swept:
            log.info("removed %d expired items of the long-term store", swept)
        return swept < BATCH

    async def forever(self) -> None:
        over = True
        while True:
            await self._clock.sleep(self._interval_s if over else PAUSE_S)
            try:
                over = await self.once()
            except Unavailable as error:
                log.warning("expired items wait for the store: %s", error)
