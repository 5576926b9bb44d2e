"""The memory store with trouble on the way to it and back: refusals, lost answers, delays, and held calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from unbroken.domain.errors import CommitUnknown, StoreUnavailable

Stage = Literal["before", "after"]


class Held:
    """One call, stopped on its way."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        self._released.set()

    async def stop_here(self) -> None:
        self.reached.set()
        await self._released.wait()


class Trouble:
    """A `CommitGate`. Without orders, each call takes one turn of the loop each way, or, with a seed, a few."""

    def __init__(self, seed: int | None = None) -> None:
        self.down = False
        """Every call is refused before anything is written."""
        self._random = random.Random(seed) if seed is not None else None
        self._orders: list[tuple[Stage, str, int, Callable[[], Exception] | Held]] = []
        self._observing = False
        self.calls: list[str] = []

    @contextmanager
    def observing(self) -> Iterator[None]:
        """The test itself reads: no trouble, and no turn of the loop, so nobody else can meet this."""
        self._observing = True
        yield
        self._observing = False

    async def __call__(self, stage: Stage, operation: str) -> None:
        if self._observing:
            return
        if stage == "before":
            self.calls.append(operation)
        for _ in range(self._random.randrange(5) if self._random else 1):
            await asyncio.sleep(0)
        if stage == "before" and self.down:
            raise StoreUnavailable("connection refused")
        order = self._due(stage, operation)
        if isinstance(order, Held):
            await order.stop_here()
        elif order is not None:
            raise order()

    def refuse(self, operation: str, *, skip: int = 0) -> None:
        """The next call (after `skip` others) is not done, for certain."""
        self._orders.append(("before", operation, skip, lambda: StoreUnavailable("connection reset")))

    def doubt(self, operation: str, *, applied: bool, skip: int = 0) -> None:
        """The next call's answer is lost, whether it was done or not."""
        stage: Stage = "after" if applied else "before"
        self._orders.append((stage, operation, skip, lambda: CommitUnknown("the answer to COMMIT was lost")))

    def hold(self, operation: str, stage: Stage, *, skip: int = 0) -> Held:
        """Stop the next call before it begins, or after it was committed."""
        held = Held()
        self._orders.append((stage, operation, skip, held))
        return held

    def _due(self, stage: Stage, operation: str) -> Callable[[], Exception] | Held | None:
        found: Callable[[], Exception] | Held | None = None
        left: list[tuple[Stage, str, int, Callable[[], Exception] | Held]] = []
        for at, name, skip, order in self._orders:
            if (at, name) != (stage, operation):
                left.append((at, name, skip, order))
            elif skip or found is not None:
                left.append((at, name, max(0, skip - 1), order))
            else:
                found = order
        self._orders = left
        return found
