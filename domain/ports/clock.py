from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime


class Clock(ABC):
    """Time, and pauses in it. Wall time is for people's eyes; nothing is decided by it."""

    @abstractmethod
    def now(self) -> datetime:
        """Wall time, timezone-aware, UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds that never go back; comparable inside one process only."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None: ...
