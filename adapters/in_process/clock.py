from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from unbroken.domain.ports.clock import Clock


class SystemClock(Clock):
    """The operating system's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
