"""How many frames of text a process sends: as many as there are tokens while it has time, larger ones when it has not.

A frame costs about as much as its token did. Text that moves ten times a second reads well; what a hundred people who
are answered at once would feel is that what is said next waits for frames of what was said.
"""

from __future__ import annotations

from typing import Final

TEXTS_PER_S: Final = 1_000.0
"""Of all connections together, beyond a moment's burst: what ten models say that each give a token every 10 ms."""
LEAST_REST_S: Final = 0.01
"""A shorter one saves no frame."""
LONGEST_REST_S: Final = 0.1


class Pace:
    """One line in which all connections queue: each has its place when all before it have had theirs."""

    def __init__(self) -> None:
        self._free_at_s = 0.0

    def rest_s(self, now_s: float) -> float:
        """A connection has sent text: for how long it should let more of it gather. 0: it need not. `now_s`:
        monotonic."""
        self._free_at_s = min(max(self._free_at_s, now_s) + 1 / TEXTS_PER_S, now_s + LONGEST_REST_S)
        rest_s = self._free_at_s - now_s
        return rest_s if rest_s >= LEAST_REST_S else 0.0
