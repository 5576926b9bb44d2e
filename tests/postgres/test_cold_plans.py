"""What is done once in a while finds its rows by index as well, and pruning costs the same however long the talk is."""

from __future__ import annotations

import asyncpg
import pytest

from tests.contracts.conversation import PLENTY, Conversation, state_at
from tests.contracts.subjects import PostgresSubject
from tests.postgres.test_plans import POPULATION, rows_read, scans
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.pruning import KEEP_BRANCHES, PRUNE_EVERY, prunes

pytestmark = pytest.mark.asyncio

EARLY = PRUNE_EVERY * (KEEP_BRANCHES // PRUNE_EVERY + 3) - 1
LATE = 8 * EARLY + PRUNE_EVERY * 8 - 1
"""Two turns that prune, once as much is kept as ever will be."""

SESSIONS = """
INSERT INTO sessions (thread_id, user_id, agent_id, epoch, applied_seq, run, tries, head_event, log_index, created_at)
    SELECT 'short-' || n, 'user-' || n % 100, 'demo', 1, 1, 1, 0, 1, 1, now() FROM generate_series(1, 3000) n
"""


async def a_turn(talk: Conversation, number: int) -> None:
    claim = await talk.accepted()
    await talk.superstep(claim, state_at(2 * number, parent=2 * number - 1))
    await talk.finish(claim, state=state_at(2 * number + 1, parent=2 * number))


async def test_pruning_reads_no_more_rows_when_its_conversation_is_long(url: str, sql: asyncpg.Connection) -> None:
    async with open_postgres(url, pool_size=1) as opened:
        store = PostgresSubject(opened, url)
        await sql.execute(POPULATION)
        talk = await Conversation.begin(store)
        cost: dict[int, int] = {}
        for number in range(1, LATE + 1):
            if number in (EARLY, LATE):
                assert prunes(number)
                await sql.execute("ANALYZE")
                await store.pool.read("DISCARD PLANS")
                before = await rows_read(store, sql)
                await a_turn(talk, number)
                cost[number] = await rows_read(store, sql) - before
            else:
                await a_turn(talk, number)
    assert cost[LATE] <= cost[EARLY] + 5, cost
    assert cost[EARLY] < 1_000, cost


async def test_no_call_about_one_thread_or_user_reads_a_whole_table(url: str, sql: asyncpg.Connection) -> None:
    async with open_postgres(url, pool_size=1) as opened:
        store = PostgresSubject(opened, url)
        await sql.execute(POPULATION + SESSIONS)
        await sql.execute("ANALYZE")
        await store.pool.read("SELECT pg_stat_force_next_flush()")
        before = await scans(sql)
        talk = await Conversation.begin(store)
        await talk.finish(await talk.accepted(), state=state_at(1))
        user = talk.key.user_id
        await store.threads.page(user, query="a", limit=PLENTY)
        await store.threads.get(user, talk.thread_id)
        await store.threads.rename(user, talk.thread_id, "title")
        await store.threads.gone([talk.thread_id])
        await store.files.add(user, talk.thread_id, file_id="f", name="n", mime_type="t", data=b"", limit=9)
        await store.files.read(user, talk.thread_id, "f")
        await store.files.missing(talk.key, ["f"])
        await store.user_data.expire(idle_s=0, after="", limit=9)
        _ = [record async for record in store.user_data.export("user-7")]
        await store.threads.delete(user, talk.thread_id)
        await store.pool.write("SELECT unbroken_erase_thread_v1('short-7', 'user-7')")
        await store.pool.read("SELECT pg_stat_force_next_flush()")
        await store.pool.read("SELECT 1")
        after = await scans(sql)
    assert {table for table in after if after[table] != before[table]} == set()
