"""Executes effects that have no place in the log: each at least once, those of one session in order.

An effect's execution must bear repetition; what makes it so is its dedupe key. Messages to people are not
executed here: delivering them is the log's matter, and it has no attempt limit.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from unbroken.domain.effects import EffectClaim, ScheduleTimer
from unbroken.domain.errors import Unavailable
from unbroken.domain.policy import RetryPolicy
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.timers import Timers

log = logging.getLogger(__name__)

BATCH = 100

MAX_ERROR = 500
"""Characters that are kept of why an effect failed."""


class EffectRunner:
    def __init__(
        self,
        *,
        outbox: Outbox,
        timers: Timers,
        clock: Clock,
        replica: int,
        retry: RetryPolicy,
        interval_s: float,
        claim_s: float,
    ) -> None:
        self._outbox = outbox
        self._timers = timers
        self._clock = clock
        self._replica = replica
        self._retry = retry
        self._interval_s = interval_s
        self._claim_s = claim_s
        self._work = asyncio.Event()

    def wake(self) -> None:
        """Effects were committed: look now instead of at the next poll."""
        self._work.set()

    async def once(self) -> int:
        """Execute what is due; returns how many were tried. Raises StoreUnavailable, CommitUnknown."""
        claims = await self._outbox.claim(replica=self._replica, limit=BATCH, until_s=self._claim_s)
        for claim in claims:
            await self._execute(claim)
        return len(claims)

    async def forever(self) -> None:
        while True:
            self._work.clear()
            try:
                while await self.once():
                    pass
            except Unavailable as error:
                log.warning("effects wait for the store: %s", error)
            # Not `wait_for`: before Python 3.12 it swallows a cancellation that meets a wake; this would never stop.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._work.wait()

    async def _execute(self, claim: EffectClaim) -> None:
        try:
            if isinstance(claim.body, ScheduleTimer):
                await self._schedule(claim, claim.body)
            await self._outbox.complete(claim)
        except Unavailable:
            raise
        except Exception as error:
            last = claim.attempt_count >= self._retry.max_tries
            log.exception("effect failed%s", ", for good" if last else "", extra={"effect": claim.dedupe_key})
            pause_s = None if last else self._retry.delay_s(claim.attempt_count)
            words = f"{type(error).__name__}: {error}"[:MAX_ERROR]
            await self._outbox.postpone(claim, retry_after_s=pause_s, error=words)

    async def _schedule(self, claim: EffectClaim, timer: ScheduleTimer) -> None:
        await self._timers.schedule(
            claim.thread_id,
            timer.timer_id or claim.dedupe_key,
            after_event=claim.event_seq,
            created_by=claim.dedupe_key,
            after_s=timer.after_s,
            payload=timer.payload,
        )
