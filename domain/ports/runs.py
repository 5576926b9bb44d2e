from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from unbroken.domain.events import RunStart
from unbroken.domain.runs import Run, RunState

WITHIN: Final = 256
"""Events that are looked through for the latest run."""


class Runs(ABC):
    """What came of the events of a user's threads: reads of one snapshot each. All raise StoreUnavailable."""

    @abstractmethod
    async def get(self, user_id: str, thread_id: str, run_id: str) -> Run:
        """Raises UnknownRequest (no such run, or an event that is none), NotYourThread (also for a thread that does
        not exist), ThreadDeleted."""

    @abstractmethod
    async def page(
        self, user_id: str, thread_id: str, *, state: RunState | None = None, offset: int = 0, limit: int
    ) -> Sequence[Run]:
        """The newest first, those in `state` only if it is given. Raises NotYourThread, ThreadDeleted."""

    @abstractmethod
    async def unfinished(self, user_id: str, *, limit: int) -> Sequence[Run]:
        """Over all of the user's threads, at most `limit`, thread by thread in the order of their events."""

    @abstractmethod
    async def asking(self, thread_id: str, seq: int) -> RunStart | None:
        """How the run began in which event `seq` has asked something: that event itself, or the run that it went on
        with, by however many answers of chats. None: a message has begun it, or there is no such event."""

    @abstractmethod
    async def latest_start(self, thread_id: str, *, below: int | None = None) -> RunStart | None:
        """The newest of the thread's last `WITHIN` events that is one; only events before number `below`, if it is
        given. None: there is none."""
