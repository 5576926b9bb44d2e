"""The checker sees what the official saver loses, behind a service that sends as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from tests.checker.direct_send import DirectSend
from tests.checker.history import Violation
from tests.langgraph import test_stock_failures as failures
from tests.langgraph.driving import Crash
from tests.langgraph.scripted import chain
from tests.langgraph.stock import StockChat, official_saver

pytestmark = pytest.mark.asyncio

process = failures.process


@pytest_asyncio.fixture
async def official(database_url: str) -> AsyncIterator[AsyncPostgresSaver]:
    async with official_saver(database_url) as saver:
        yield saver


def told(violations: list[Violation]) -> list[str]:
    return [f"{violation.law} {violation.what}" for violation in violations]


async def test_as_long_as_nothing_goes_wrong_nothing_is_found(official: AsyncPostgresSaver) -> None:
    chat, service = StockChat(failures.answering(), official, "thread"), DirectSend()
    for text in ("one", "two", "three"):
        await service.answer(service.hear(text), chat)
    assert told(await service.judged(chat)) == []


async def test_a_turn_that_a_slow_clock_hides_is_a_lost_event(
    official: AsyncPostgresSaver, process: failures.Process
) -> None:
    chat, service = StockChat(failures.answering(), official, "thread"), DirectSend()
    process(0)
    await service.answer(service.hear("one"), chat)
    process(-failures.MINUTE_NS)
    await service.answer(service.hear("two"), chat)
    assert told(await service.judged(chat)) == ["I4 the head holds answered event 2 0 times"]


async def test_a_turn_that_a_thawed_owner_erases_is_a_lost_event(official: AsyncPostgresSaver) -> None:
    stall, service = failures.Stall(), DirectSend()
    graph = chain(("answer", stall.node))
    seq = service.hear("one")
    late = asyncio.ensure_future(service.answer(seq, StockChat(graph, official, "thread"), heard=False))
    await stall.reached.wait()
    service.fail("stall")
    successor = StockChat(graph, official, "thread")
    await service.answer(seq, successor)
    await service.answer(service.hear("two"), successor)
    assert told(await service.judged(successor)) == []
    stall.thaw.set()
    await late
    assert told(await service.judged(successor)) == ["I4 the head holds answered event 2 0 times"]


async def test_a_crashed_turn_that_looks_finished_is_an_event_without_an_end(database_url: str) -> None:
    async with failures.DiesAtPut.from_conn_string(database_url) as dying:
        await dying.setup()
        chat, service = StockChat(failures.answering(), dying, "thread"), DirectSend()
        with pytest.raises(Crash):
            await service.answer(service.hear("one"), chat)
        service.fail("kill")
        assert (await chat.snapshot()).next == ()  # so nobody answers it
        await service.answer(service.hear("two"), chat)
        assert told(await service.judged(chat)) == ["I4 event 1 is applied and has no effects"]


async def test_a_crashed_turn_that_is_begun_again_is_an_event_taken_twice(database_url: str) -> None:
    async with failures.DiesAtPut.from_conn_string(database_url) as dying:
        await dying.setup()
        chat, service = StockChat(failures.answering(), dying, "thread"), DirectSend()
        seq = service.hear("one")
        with pytest.raises(Crash):
            await service.answer(seq, chat, with_id=False)
        service.fail("kill")
        await service.answer(seq, chat, with_id=False)
        assert told(await service.judged(chat)) == ["I4 the head holds answered event 1 2 times"]
