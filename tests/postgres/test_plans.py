"""Every statement of a turn finds its rows by an index, however small the tables were when it was planned."""

from __future__ import annotations

import asyncpg
import pytest

from tests.contracts.conversation import PLENTY, Conversation, said, state_at
from tests.contracts.subjects import PostgresSubject
from tests.postgres.whole_tables import TABLES
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.events import TimerFired

pytestmark = pytest.mark.asyncio

GROWING = [table for table in TABLES if table != "replicas"]
"""The table of replicas has a row a replica: reading it all is as good as any plan."""

SCANS = "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY ($1)"


async def turns(talk: Conversation) -> None:
    """Everything that happens while people talk, and while they do not."""
    store = talk.store
    claim = await talk.accepted()
    await talk.accept()
    await talk.superstep(claim, state_at(1))
    following = (await talk.finish(claim, said("yes"), ScheduleTimer(0.0), state=state_at(2, parent=1))).next
    assert following is not None
    await talk.accept()
    again = await talk.claim()
    assert again is not None
    await talk.finish(again, state=state_at(3, parent=2))
    await store.sessions.strays(replica=talk.replica.id, limit=PLENTY)
    (effect,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
    await store.timers.schedule(talk.thread_id, "t", after_event=9, created_by="e", after_s=0, payload=None)
    await store.outbox.complete(effect)
    await store.outbox.next_due()
    await store.timers.due(limit=PLENTY)
    await store.timers.next_due_s()
    await store.outbox.mark({talk.thread_id: 1}, {talk.thread_id: 1})
    await store.replicas.renew(talk.replica.id, lease_ttl_s=60)
    await store.checkpoints.load(talk.thread_id, "", None)
    await store.checkpoints.history(talk.thread_id, "", limit=2)
    await talk.view()
    await talk.log()
    last = await talk.claim()
    assert last is not None
    await talk.finish(last)
    await talk.accept(talk.new(TimerFired("t", 1)))


async def scans(sql: asyncpg.Connection) -> dict[str, int]:
    return {row["relname"]: row["seq_scan"] for row in await sql.fetch(SCANS, GROWING)}


async def test_no_call_of_a_turn_reads_a_whole_table(url: str, sql: asyncpg.Connection) -> None:
    async with open_postgres(url, pool_size=1) as opened:
        store = PostgresSubject(opened, url)
        await turns(await Conversation.begin(store))
        await sql.execute("ANALYZE")  # now the planner knows that each table fits on a page
        await store.pool.read("SELECT pg_stat_force_next_flush()")
        before = await scans(sql)
        for _ in range(3):
            await store.pool.read("DISCARD PLANS")
            await turns(await Conversation.begin(store))
        await store.pool.read("SELECT pg_stat_force_next_flush()")
        await store.pool.read("SELECT 1")
        after = await scans(sql)
    assert set(after) == set(GROWING)
    assert {table for table in GROWING if after[table] != before[table]} == set()
