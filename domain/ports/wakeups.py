from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Wakeups(ABC):
    """Best effort: a hint may be lost, doubled, coalesced or reordered; polling is the fallback, so losing
    every hint costs latency only."""

    @abstractmethod
    def hint(self, thread_id: str) -> None:
        """Tell every replica that something of this thread changed. Never blocks; call it after the commit."""

    @abstractmethod
    def listen(self, on_hint: Callable[[str], None]) -> None:
        """Call `on_hint(thread_id)` on the event loop for each hint, those of this process included."""
