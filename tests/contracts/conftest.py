"""The stores under contract: every law of this folder holds for each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contracts.subjects import MemorySubject, Subject


@pytest_asyncio.fixture(params=["memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    subject = MemorySubject()
    yield subject
    assert subject.checked_out() == 0, "a connection was not given back"
