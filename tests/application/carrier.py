"""What carries hints and messages between the replicas of a test: in order and at once, or lost, doubled and late."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

Deliver = Callable[[], None]


class Carrier:
    """`world.hub.carry = Carrier(…)`."""

    def __init__(self, seed: int = 0, *, lost: float = 0.0, doubled: float = 0.0, delay_s: float = 0.001) -> None:
        self.lost = lost
        self.doubled = doubled
        self.delay_s = delay_s
        self.carried = 0
        self.loses: int | None = None
        """The number of the one that is lost, whatever it is."""
        self.cut = False
        self._random = random.Random(seed)

    def __call__(self, deliver: Deliver) -> None:
        number, self.carried = self.carried, self.carried + 1
        if self.cut or number == self.loses or self._random.random() < self.lost:
            return
        for _ in range(2 if self._random.random() < self.doubled else 1):
            delay_s = self.delay_s * (self._random.random() if self.lost or self.doubled else 1.0)
            asyncio.get_running_loop().call_later(delay_s, deliver)
