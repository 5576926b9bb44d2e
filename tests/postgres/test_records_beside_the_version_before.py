"""During a deploy, processes that know nothing of threads' records bind threads beside those that do."""

from __future__ import annotations

import pytest

from tests.postgres.test_migrations import execute
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.errors import NotYourThread

pytestmark = pytest.mark.asyncio


async def test_what_somebody_noted_is_not_told_to_who_bound_the_thread(database_url: str) -> None:
    async with open_postgres(database_url) as store:
        records = store.thread_records
        assert await records.create("ann", "shared", {"secret": 1})
        await execute(database_url, "SELECT unbroken_create_thread_v1('shared', 'bob', 'one', NULL)")
        assert (await records.get("bob", "shared")).metadata == {"graph_id": "one"}
        await records.describe("bob", "shared", {"x": 1})
        await records.describe("bob", "shared", {"y": 1})
        assert (await records.get("bob", "shared")).metadata == {"x": 1, "y": 1, "graph_id": "one"}
        with pytest.raises(NotYourThread):
            await records.get("ann", "shared")
