from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.bus.carriers import Carrier, HubCarrier, NatsCarrier, PostgresCarrier, eventually


@pytest_asyncio.fixture(params=["hub", "postgres-18", "postgres-15", "nats"])
async def carrier(request: pytest.FixtureRequest, new_database: Callable[[int], str]) -> AsyncIterator[Carrier]:
    """Afterwards nothing of what joined it is left: no task, and no connection."""
    before = asyncio.all_tasks()
    made: Carrier
    kind, _, version = request.param.partition("-")
    if kind == "hub":
        made = HubCarrier()
    elif kind == "nats":
        made = nats = NatsCarrier()
        await nats.start()
    else:
        made = postgres = PostgresCarrier(new_database(int(version)))
        await postgres.start()
    left = made.stack
    try:
        yield made
    finally:
        await left.aclose()
    assert made.connections() == 0
    await eventually(lambda: asyncio.all_tasks() - {asyncio.current_task()} <= before)


@pytest_asyncio.fixture
async def broker() -> AsyncIterator[NatsCarrier]:
    made = NatsCarrier()
    await made.start()
    yield made
    await made.stack.aclose()


@pytest_asyncio.fixture
async def listening(new_database: Callable[[int], str]) -> AsyncIterator[PostgresCarrier]:
    made = PostgresCarrier(new_database(18))
    await made.start()
    yield made
    await made.stack.aclose()
