"""A loop whose time passes only when nothing else can happen: seconds of waiting cost nothing, and no order of two
timers depends on how busy the machine is."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec

from unbroken.domain.ports.clock import Clock

P = ParamSpec("P")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Stuck(AssertionError):
    """Nothing is ready, nothing is scheduled: a wakeup was lost."""


class SkippingSelector(selectors.SelectSelector):
    """Instead of waiting for input that cannot come, moves the time on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


class VirtualClock(Clock):
    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test to its end in virtual time. Fails if it hangs, if a task of it outlives it, or if the loop
    was told of an exception that nobody took."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        untaken: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: untaken.append(context))
            runner.run(_alone(test(*args, **kwargs)))
        assert not untaken, untaken

    return run


async def _alone(test: Coroutine[Any, Any, None]) -> None:
    await test
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks outlive the test: {left}"
