"""What attempts showed that ended a moment ago, for readers that follow all of it and are still on their way.

The log keeps what a turn came to. What a run showed beside that, and was not asked for in the log, is gone with its
attempt; but a client that starts a run and then begins to follow it must not depend on which of the two is faster.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from unbroken.domain.events import RunStart

if TYPE_CHECKING:
    from unbroken.application.live_sessions import LiveAttempt

MAX_BYTES: Final = 32 << 20
MAX_COUNT: Final = 1_000
KEPT_S: Final = 60.0


class RecentAttempts:
    """Bounded in number, bytes and age; the oldest go first. Forgetting one costs readers only what is in no log."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], tuple[float, int, LiveAttempt]] = OrderedDict()
        self._bytes = 0

    def keep(self, thread_id: str, attempt: LiveAttempt) -> None:
        """Nothing of a turn that chat frames tell completely."""
        body = attempt.event.body
        if not (isinstance(body, RunStart) and body.rich):
            return
        name = (thread_id, attempt.event.seq)
        self._forget(name)
        size = attempt.stream.weight
        self._kept[name] = (asyncio.get_running_loop().time(), size, attempt)
        self._bytes += size
        self._expire()

    def get(self, thread_id: str, seq: int) -> LiveAttempt | None:
        """The attempt that was at work on that event when it ended, or when its end was heard of."""
        self._expire()
        found = self._kept.get((thread_id, seq))
        return found[2] if found else None

    def _expire(self) -> None:
        while self._kept:
            name, (kept_at, _, _) = next(iter(self._kept.items()))
            oldest = asyncio.get_running_loop().time() - KEPT_S
            if kept_at >= oldest and self._bytes <= MAX_BYTES and len(self._kept) <= MAX_COUNT:
                return
            self._forget(name)

    def _forget(self, name: tuple[str, int]) -> None:
        if (found := self._kept.pop(name, None)) is not None:
            self._bytes -= found[1]
