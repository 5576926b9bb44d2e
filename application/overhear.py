"""What other replicas tell of sessions, and what is done about it here.

    it has work here              look, as for a hint of one's own; an attempt that runs may have been cancelled there
    somebody follows it here      read it anew
    nobody owns it any more       take it: at once where it is followed, else a moment later, if it is free still
    anything else                 nothing; whoever comes to need it reads the store

Nothing of what is told is believed: it only says where to look, and polls look there anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final
from zlib import crc32

from unbroken.application.cancel import Cancel
from unbroken.application.event_queue import EventQueue
from unbroken.application.live_sessions import LiveSessions
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock

log = logging.getLogger(__name__)

READERS: Final = 4
"""Sessions that are read anew side by side; the others wait, and what is told of them meanwhile is one look."""
MOST_FREE: Final = 10_000
"""Sessions that wait to be taken; more than run here at once."""
FREE_AFTER_S: Final = (0.05, 0.25)
"""Each replica has its own moment for each session, so that they neither all ask at once nor share by chance alone."""
TICK_S: Final = 0.025


class Overhear:
    def __init__(self, *, queue: EventQueue, live: LiveSessions, cancel: Cancel, clock: Clock, replica: int) -> None:
        self._queue = queue
        self._live = live
        self._cancel = cancel
        self._clock = clock
        self._replica = replica
        self._unread: dict[str, None] = {}
        """Followed threads that are to be read, in the order in which they were told of."""
        self._reading: set[str] = set()
        self._again: set[str] = set()
        """Of those that are being read: told of once more since."""
        self._marks = False
        """Whether an attempt that runs here may have been cancelled."""
        self._free: dict[str, float] = {}
        """When each is to be taken (monotonic)."""
        self._working = 0
        self._taking = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def overheard(self, thread_id: str, free: bool = False) -> None:
        """Another replica, or whoever knows more than was read here, says that the session has changed; `free`: that
        nobody owns it any more."""
        if self._closed:
            return
        more = False
        followed = bool(self._live.followed(thread_id))
        if self._queue.knows(thread_id):
            self._queue.hint(thread_id)
            more = self._marks = self._marks or self._queue.runs(thread_id)
        elif free and followed:
            self._queue.hint(thread_id)  # a session follows its socket
        elif free:
            self._take_later(thread_id)
        if followed and thread_id in self._reading:
            self._again.add(thread_id)
        elif followed:
            self._unread[thread_id] = None
            more = True
        if more and self._working < READERS:
            self._working += 1
            self._start(self._work())

    async def close(self) -> None:
        """Nothing is under way when this returns, nor begun later."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Until nothing is left to read. No await lies between the last look and the end."""
        try:
            while self._marks or self._unread:
                if self._marks:
                    self._marks = False
                    await self._look_for_cancels()
                else:
                    await self._read(next(iter(self._unread)))
        finally:
            self._working -= 1

    async def _look_for_cancels(self) -> None:
        try:
            await self._cancel.once()
        except Unavailable as error:
            log.info("cannot look for cancels yet: %s", error)

    async def _read(self, thread_id: str) -> None:
        del self._unread[thread_id]
        self._reading.add(thread_id)
        try:
            for key in self._live.followed(thread_id):
                try:
                    await self._live.refresh_for_readers(key)
                except Unavailable as error:
                    log.info("what others did is shown later: %s", error, extra={"session": str(key)})
        finally:
            self._reading.discard(thread_id)
            if thread_id in self._again:
                self._again.discard(thread_id)
                self._unread[thread_id] = None

    def _take_later(self, thread_id: str) -> None:
        if len(self._free) >= MOST_FREE:
            return  # the poll finds it
        least, most = FREE_AFTER_S
        share = crc32(f"{self._replica}/{thread_id}".encode()) / 2**32
        self._free.setdefault(thread_id, self._clock.monotonic() + least + share * (most - least))
        if not self._taking:
            self._taking = True
            self._start(self._take())

    async def _take(self) -> None:
        try:
            while self._free:
                await self._clock.sleep(TICK_S)
                now = self._clock.monotonic()
                for thread_id in [thread_id for thread_id, due in self._free.items() if due <= now]:
                    del self._free[thread_id]
                    self._queue.hint(thread_id)
        finally:
            self._taking = False
