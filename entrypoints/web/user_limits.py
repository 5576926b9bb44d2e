"""What one user may take of this process, so that none can take it from the others."""

from __future__ import annotations

from collections import Counter
from typing import Final

from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.ports.threads import Threads
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.web.rate import Rate

MINUTE_S: Final = 60.0


class TooManySockets(Exception):
    """The user has as many sockets open as one may have."""


class UserLimits:
    """Counted by this process alone: several replicas allow as many times as much."""

    def __init__(self, *, sockets: int | None, messages_per_min: float | None, threads: int | None) -> None:
        """None: as many as they like."""
        self.threads = threads
        self._sockets = sockets
        self._messages_per_min = messages_per_min
        self._open: Counter[str] = Counter()
        self._rates: dict[str, tuple[float, Rate]] = {}
        """When each user spoke last, oldest first; a minute later the bucket would be full again, and is forgotten."""

    def opened(self, user_id: str) -> None:
        """One more socket; `closed` must follow. Raises TooManySockets."""
        if self._sockets is not None and self._open[user_id] >= self._sockets:
            raise TooManySockets(f"{self._sockets} sockets of one user are open already")
        self._open[user_id] += 1

    def closed(self, user_id: str) -> None:
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]

    def admits_message(self, user_id: str, now_s: float) -> bool:
        """`now_s`: monotonic."""
        if self._messages_per_min is None:
            return True
        self._forget(now_s - MINUTE_S)
        _, rate = self._rates.pop(user_id, (0.0, None))
        rate = rate or Rate(per_s=self._messages_per_min / MINUTE_S, burst_s=MINUTE_S)
        self._rates[user_id] = (now_s, rate)
        return rate.admits(now_s)

    def _forget(self, before_s: float) -> None:
        for user_id, (last_s, _) in list(self._rates.items()):
            if last_s >= before_s:
                return
            del self._rates[user_id]


class Allowance:
    """What the user of one session may still do."""

    __slots__ = ("_key", "_limits", "_threads")

    def __init__(self, limits: UserLimits, threads: Threads, key: SessionKey) -> None:
        self._limits = limits
        self._threads = threads
        self._key = key

    def message(self, now_s: float) -> bool:
        return self._limits.admits_message(self._key.user_id, now_s)

    async def thread(self) -> bool:
        """Whether this thread exists, or may come to be. Requests that race may pass together. Raises
        StoreUnavailable."""
        if self._limits.threads is None:
            return True
        try:
            await self._threads.get(self._key.user_id, self._key.thread_id)
        except NotYourThread:
            return await self._threads.count(self._key.user_id) < self._limits.threads
        except ThreadDeleted:
            return True  # whoever uses it is told
        return True
