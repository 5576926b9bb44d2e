from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Wakeups(ABC):
    """Best effort: a hint may be lost, doubled, coalesced or reordered; polling is the fallback, so losing
    every hint costs latency only."""

    @abstractmethod
    def hint(self, thread_id: str, *, free: bool = False) -> None:
        """Tell every replica, this one included, that something of this thread changed. Never blocks and never raises;
        call it after the commit. `free`: nobody owns the session any more, whoever can may take it."""

    @abstractmethod
    def announce(self, thread_id: str, *, free: bool = False) -> None:
        """The same to the other replicas alone: nothing is to be looked at here. It costs nothing while there are no
        others."""

    @abstractmethod
    def listen(self, on_hint: Callable[[str], None], on_overheard: Callable[[str, bool], None]) -> None:
        """Call, on the event loop and never inside the giver's step, `on_hint(thread_id)` for each hint of this
        process, and `on_overheard(thread_id, free)` for what other replicas have told."""
