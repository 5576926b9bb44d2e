"""Events of one session strictly one after another, sessions side by side and in turn.

What waits is kept in the table, not here: this queue holds one task for each session that has work, and each
task holds one claim. After a crash there is nothing to rebuild; `Recover` finds the sessions again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from unbroken.application.live_sessions import LiveSessions
from unbroken.application.session_processor import Again, SessionProcessor
from unbroken.domain.errors import Refused, Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim, SessionKey

log = logging.getLogger(__name__)

T = TypeVar("T")


class EventQueue:
    def __init__(
        self,
        *,
        processor: SessionProcessor,
        sessions: Sessions,
        live: LiveSessions,
        clock: Clock,
        replica: int,
        concurrent_turns: int,
        retry_pause_s: float = 0.2,
    ) -> None:
        self._processor = processor
        self._sessions = sessions
        self._live = live
        self._clock = clock
        self._replica = replica
        self._retry_pause_s = retry_pause_s
        self._slots = asyncio.Semaphore(concurrent_turns)
        """First come, first served: a session waits for at most one turn of each other session."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._handed: dict[str, Claim] = {}
        self._hinted: set[str] = set()
        self._expected: Counter[str] = Counter()
        self._closing = False

    def __len__(self) -> int:
        """Sessions with work here."""
        return len(self._tasks)

    @contextmanager
    def expecting(self, thread_id: str) -> Iterator[None]:
        """While an accept is on its way, its claim may be counted already: `Recover` must not take it for a stray."""
        self._expected[thread_id] += 1
        try:
            yield
        finally:
            self._expected[thread_id] -= 1
            if not self._expected[thread_id]:
                del self._expected[thread_id]

    def knows(self, thread_id: str) -> bool:
        return thread_id in self._tasks or thread_id in self._expected

    def start(self, claim: Claim) -> None:
        """Run a claim that an accept has counted."""
        self._handed[claim.key.thread_id] = claim
        self._wake(claim.key.thread_id)

    def hint(self, thread_id: str) -> None:
        """Something may wait in this session: look, and run it if it is ours to run."""
        self._hinted.add(thread_id)
        self._wake(thread_id)

    async def close(self, grace_s: float) -> None:
        """Begin nothing new, let running turns finish for `grace_s`, then cancel them; what is cut off stays
        counted and is found again by whoever serves the session next."""
        self._closing = True
        tasks = set(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _wake(self, thread_id: str) -> None:
        if thread_id not in self._tasks and not self._closing:
            self._tasks[thread_id] = asyncio.create_task(self._drain(thread_id))

    async def _drain(self, thread_id: str) -> None:
        """Until nothing waits. No await lies between the last look and the task's removal."""
        try:
            claim: Claim | None = None
            while not self._closing:
                claim = claim or self._handed.pop(thread_id, None)
                if claim is None and thread_id in self._hinted:
                    self._hinted.discard(thread_id)
                    claim = await self._claim(thread_id, refresh=True)
                if claim is not None:
                    claim = await self._turn(claim)
                elif thread_id not in self._hinted and thread_id not in self._handed:
                    return
        except Exception:
            log.exception("a session's worker stopped; its event stays counted and will be tried again")
        finally:
            self._handed.pop(thread_id, None)
            del self._tasks[thread_id]

    async def _turn(self, claim: Claim) -> Claim | None:
        async with self._slots:
            outcome = await self._processor.process(claim)
        if isinstance(outcome, Again):
            await self._clock.sleep(outcome.after_s)
            return await self._claim(claim.key.thread_id, refresh=outcome.refresh, key=claim.key)
        return outcome

    async def _claim(self, thread_id: str, *, refresh: bool, key: SessionKey | None = None) -> Claim | None:
        """Count the next attempt, however long the store takes to come back.

        Readers learn what the store knows before anything runs: an event whose commit's answer was lost may
        have reached its end.
        """
        claim = await self._insist(lambda: self._sessions.claim(thread_id, replica=self._replica))
        about = claim.key if claim else key
        if refresh and about:
            await self._insist(lambda: self._live.refresh(about))
        return claim

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Repeat a call until the store answers; None if it can never, or if this queue closes meanwhile."""
        pause_s = self._retry_pause_s
        while not self._closing:
            try:
                return await call()
            except Refused:
                return None
            except Unavailable as error:
                log.warning("the store does not answer yet: %s", error)
                await self._clock.sleep(pause_s)
                pause_s = min(2.0, pause_s * 2)
        return None
