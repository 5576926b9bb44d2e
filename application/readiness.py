"""Whether this replica should be sent new work: what a load balancer asks every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from unbroken.application.session_processor import SessionProcessor
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.store_health import StoreHealth

FRESH_S: Final = 0.5
"""How long a look counts: whoever may ask without a name must not be able to keep the store busy."""

OK: Final = "ok"


class Readiness:
    """`abandoned_limit`: agents' tasks that may outlive their stopped attempts. `answer_s`: what the store gets."""

    def __init__(
        self,
        *,
        store: StoreHealth,
        processor: SessionProcessor,
        clock: Clock,
        replica: int,
        abandoned_limit: int,
        answer_s: float = 2.0,
    ) -> None:
        self._store = store
        self._processor = processor
        self._clock = clock
        self._replica = replica
        self._abandoned_limit = abandoned_limit
        self._answer_s = answer_s
        self._stopping = False
        self._look: asyncio.Task[Mapping[str, str]] | None = None
        self._looked_at = 0.0

    def stop(self) -> None:
        """Not ready from this moment on."""
        self._stopping = True

    async def __call__(self) -> dict[str, str]:
        """Every check by name: `ok`, or in words without secrets what is wrong. Raises nothing."""
        abandoned = self._processor.abandoned
        checks = {
            "serving": "the server is stopping" if self._stopping else OK,
            "agents": OK if abandoned <= self._abandoned_limit else f"{abandoned} stopped attempts have not ended",
        }
        return checks | dict(await asyncio.shield(self._latest()))

    def _latest(self) -> asyncio.Task[Mapping[str, str]]:
        """One look serves all who ask at the same time, and a moment later."""
        if self._look is None or (self._look.done() and self._clock.monotonic() - self._looked_at > FRESH_S):
            self._look = asyncio.create_task(self._ask_store())
        return self._look

    async def _ask_store(self) -> Mapping[str, str]:
        try:
            async with asyncio.timeout(self._answer_s):
                state = await self._store.look(replica=self._replica)
        except (Unavailable, TimeoutError):
            # The reason is in the log, with the database's address: none of a stranger's business.
            return {"database": "does not answer"}
        finally:
            self._looked_at = self._clock.monotonic()
        return {
            "database": OK,
            "schema": OK if state.schema_fits else "is behind this version: run `unbroken migrate`",
            "lease": OK if state.lease_held else "is not held",
        }
