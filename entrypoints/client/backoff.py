"""When to try again: soon at first, then less and less often, and never in step with everyone else."""

from __future__ import annotations

import random


class Backoff:
    """The pauses between connections, in seconds: doubling from `first_s` up to `cap_s`, each cut by up to half.

    A connection that lasted `calm_s` was a good one, and the count begins again.
    """

    def __init__(self, *, first_s: float = 0.2, cap_s: float = 5.0, calm_s: float = 5.0) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._calm_s = calm_s
        self._failures = 0
        self._random = random.Random()  # noqa: S311 - it spreads load, it keeps no secret

    def after(self, lasted_s: float, *, at_once: bool = False) -> float:
        """The pause after a connection that lasted `lasted_s` (0: it never came to be). `at_once`: there is a reason
        to expect success now; it is believed once, not again and again."""
        if lasted_s >= self._calm_s:
            self._failures = 0
        pause = min(self._cap_s, self._first_s * 2 ** min(self._failures, 16))
        pause *= 1 - self._random.random() / 2
        first = self._failures == 0
        self._failures += 1
        return 0.0 if at_once and first else pause
