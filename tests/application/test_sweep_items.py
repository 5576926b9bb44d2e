"""Expired items are removed in time, and a store that does not answer delays that only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.memory.store import MemoryStore
from unbroken.application.sweep_items import BATCH, INTERVAL_S, PAUSE_S, SweepItems
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.items import ItemName, ItemPut

pytestmark = pytest.mark.asyncio


class Enough(Exception):
    pass


class CountedSleeps(SystemClock):
    def __init__(self, most: int) -> None:
        super().__init__()
        self.slept: list[float] = []
        self._most = most

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > self._most:
            raise Enough


async def test_batch_after_batch_goes_until_none_is_left() -> None:
    store = MemoryStore(SystemClock())
    await store.items.write([ItemPut(ItemName(("n",), str(number)), b"{}", 0.0) for number in range(BATCH + 1)])
    await store.items.write([ItemPut(ItemName(("n",), "stays"), b"{}")])
    clock = CountedSleeps(3)
    with pytest.raises(Enough):
        await SweepItems(store.items, clock).forever()
    assert clock.slept == [INTERVAL_S, PAUSE_S, INTERVAL_S, INTERVAL_S]
    assert [name.key for name in store.database.items] == ["stays"]


async def test_a_store_that_does_not_answer_is_asked_again() -> None:
    store = MemoryStore(SystemClock())
    answers: Iterator[StoreUnavailable | int] = iter([StoreUnavailable("away"), 0])

    async def sweep(limit: int) -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    store.items.sweep = sweep  # type: ignore[method-assign]
    clock = CountedSleeps(2)
    with pytest.raises(Enough):
        await SweepItems(store.items, clock, 7.0).forever()
    assert clock.slept == [7.0, 7.0, 7.0]
