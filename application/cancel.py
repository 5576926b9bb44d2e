"""Stop an event: the mark first, then whoever runs it (I9)."""

from __future__ import annotations

import logging

from unbroken.application.event_queue import EventQueue
from unbroken.application.session_processor import SessionProcessor
from unbroken.domain.errors import CancelKind, Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.controls import Controls, Mark
from unbroken.domain.ports.wakeups import Wakeups
from unbroken.domain.session import SessionKey

log = logging.getLogger(__name__)


class Cancel:
    def __init__(
        self,
        *,
        controls: Controls,
        queue: EventQueue,
        processor: SessionProcessor,
        wakeups: Wakeups,
        clock: Clock,
        replica: int,
        interval_s: float,
    ) -> None:
        self._controls = controls
        self._queue = queue
        self._processor = processor
        self._wakeups = wakeups
        self._clock = clock
        self._replica = replica
        self._interval_s = interval_s

    async def __call__(self, key: SessionKey, request_id: str, kind: CancelKind = "cancel") -> None:
        """Cancel one unfinished event, unless somebody has before. When this returns, the mark is durable and, if the
        event runs here, its output has ended; its end in the log follows.

        Raises UnknownRequest, AlreadyEnded, NotYourThread, ThreadDeleted, StoreUnavailable, CommitUnknown (ask again).
        """
        if not self._stop(await self._controls.cancel(key, request_id, kind)):
            self._wakeups.announce(key.thread_id)

    async def once(self) -> None:
        """Stop what runs here and was cancelled elsewhere. Raises StoreUnavailable."""
        for mark in await self._controls.marked(replica=self._replica):
            self._stop(mark)

    async def forever(self) -> None:
        """The fallback of every hint: one query an interval, while attempts run that are older than one interval."""
        before: frozenset[tuple[str, int]] = frozenset()
        while True:
            await self._clock.sleep(self._interval_s)
            running = self._processor.running
            if running & before:
                try:
                    await self.once()
                except Unavailable as error:
                    log.warning("cannot look for cancels yet: %s", error)
            before = running

    def _stop(self, mark: Mark) -> bool:
        return self._queue.stop(mark.thread_id, mark.kind, first=mark.seq, last=mark.seq)
