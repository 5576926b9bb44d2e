"""How fast one socket may send: a bucket that fills with time and is emptied by frames."""

from __future__ import annotations


class Rate:
    """`per_s` frames a second on average, `burst_s` seconds' worth at once. Time is passed in, monotonic."""

    __slots__ = ("_allowance", "_burst", "_last_s", "_per_s")

    def __init__(self, *, per_s: float, burst_s: float = 4.0) -> None:
        self._per_s = per_s
        self._burst = per_s * burst_s
        self._allowance = self._burst
        self._last_s: float | None = None

    def admits(self, now_s: float) -> bool:
        if self._last_s is not None:
            self._allowance = min(self._burst, self._allowance + (now_s - self._last_s) * self._per_s)
        self._last_s = now_s
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
