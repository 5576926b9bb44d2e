"""When a socket has cost more than it may: a sliding window over its refused frames."""

from __future__ import annotations

from typing import Final

MAX_BAD: Final = 20
MAX_TOO_FAST: Final = 100
WINDOW_S: Final = 10.0


class AbuseCounter:
    """Counts one socket's refused frames; holds at most 120 numbers. Time is passed in, monotonic, in seconds."""

    __slots__ = ("_bad", "_max_bad", "_max_too_fast", "_too_fast", "_window_s")

    def __init__(self, *, max_bad: int = MAX_BAD, max_too_fast: int = MAX_TOO_FAST, window_s: float = WINDOW_S) -> None:
        self._bad: list[float] = []
        self._too_fast: list[float] = []
        self._max_bad = max_bad
        self._max_too_fast = max_too_fast
        self._window_s = window_s

    def bad(self, now_s: float) -> bool:
        """Count a bad frame. True: it was the last one the window allows; close with 4429."""
        return self._count(self._bad, self._max_bad, now_s)

    def too_fast(self, now_s: float) -> bool:
        """Count a frame that came too fast. True: close with 4429."""
        return self._count(self._too_fast, self._max_too_fast, now_s)

    def _count(self, seen: list[float], most: int, now_s: float) -> bool:
        seen.append(now_s)
        del seen[:-most]
        return len(seen) == most and now_s - seen[0] < self._window_s
