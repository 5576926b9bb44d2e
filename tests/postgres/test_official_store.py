"""Items of the long-term store lie in the tables of LangGraph's own: either reads what the other has written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import cos, sin

import pytest
import pytest_asyncio
from langgraph.store.postgres import AsyncPostgresStore

from tests.postgres.test_migrations import empty, execute
from unbroken.adapters.langgraph.long_term_store import LongTermStore
from unbroken.adapters.postgres.items import COSINE_BY_PGVECTOR
from unbroken.adapters.postgres.migrate import migrate
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.items import ItemName, ItemPut, ItemSearch

__all__ = ["empty"]

pytestmark = pytest.mark.asyncio

NOTES = ("notes", "ann")


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[LongTermStore]:
    async with open_postgres(database_url) as store:
        yield LongTermStore(store.items)


async def test_either_reads_and_changes_what_the_other_has_written(database_url: str, ours: LongTermStore) -> None:
    async with AsyncPostgresStore.from_conn_string(database_url) as official:
        await official.setup()
        await ours.aput(NOTES, "ours", {"n": 1, "text": "ü"}, ttl=5)
        await official.aput(NOTES, "theirs", {"n": 2}, ttl=5)
        for store in (ours, official):
            found = await store.asearch(NOTES)
            assert [(one.key, one.value) for one in found] == [("theirs", {"n": 2}), ("ours", {"n": 1, "text": "ü"})]
            assert await store.alist_namespaces() == [NOTES]
        assert await ours.aget(NOTES, "theirs") == await official.aget(NOTES, "theirs")
        await official.aput(NOTES, "ours", {"n": 3})
        await ours.adelete(NOTES, "theirs")
        assert [one.value for one in await official.asearch(NOTES)] == [{"n": 3}]
        assert [one.value for one in await ours.asearch(NOTES)] == [{"n": 3}]


async def test_a_store_that_was_there_before_is_adopted(empty: str) -> None:
    async with AsyncPostgresStore.from_conn_string(empty) as official:
        await official.setup()
        await official.aput(NOTES, "before", {"n": 1})
    await migrate(empty)
    async with open_postgres(empty) as store:
        assert [one.value for one in await LongTermStore(store.items).asearch(NOTES)] == [{"n": 1}]


async def test_one_of_its_first_version_is_brought_up_to_date(empty: str) -> None:
    await execute(
        empty,
        "CREATE TABLE store (prefix text NOT NULL, key text NOT NULL, value jsonb NOT NULL,"
        " created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(), PRIMARY KEY (prefix, key))",
        "INSERT INTO store (prefix, key, value) VALUES ('notes.ann', 'a', '{}')",
    )
    await migrate(empty)
    async with open_postgres(empty) as store, AsyncPostgresStore.from_conn_string(empty) as official:
        await LongTermStore(store.items).aput(NOTES, "b", {"n": 1}, ttl=5)
        await official.setup()
        assert {one.key for one in await official.asearch(NOTES)} == {"a", "b"}


async def test_pgvector_finds_what_is_found_without_it(database_url: str) -> None:
    puts = [
        ItemPut(
            ItemName(NOTES, f"{number:03}"), b"{}", None, {"$": (sin(number), cos(3 * number), sin(number * number))}
        )
        for number in range(200)
    ]
    other = ItemPut(ItemName(NOTES, "other"), b"{}", None, {"$": (1.0, 0.0)})
    search = ItemSearch(NOTES, near=(0.3, -2.0, 1.0), limit=50)
    found = []
    for extension in (False, True):
        if extension:
            await execute(database_url, "CREATE EXTENSION vector")
        async with open_postgres(database_url) as store:
            await store.items.write([*puts, other])
            found.append(await store.items.search(search))
            assert (store.items._cosine == COSINE_BY_PGVECTOR) is extension  # type: ignore[attr-defined]
    without, by_it = found
    assert [one.item.name.key for one in without] == [one.item.name.key for one in by_it]
    assert [one.score for one in without] == pytest.approx([one.score for one in by_it], abs=1e-6)
    assert len(without) == 50
