"""Every statement of a turn finds its rows by the right index, however small or large the tables were when it was
planned, and however long the conversation is."""

from __future__ import annotations

import asyncpg
import pytest

from tests.contracts.conversation import PLENTY, Conversation, said, state_at
from tests.contracts.subjects import PostgresSubject
from tests.postgres.whole_tables import TABLES
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.events import TimerFired
from unbroken.domain.ports.outbox import Reached

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
    await store.outbox.mark({talk.thread_id: Reached(1)}, {talk.thread_id: Reached(1)})
    await store.backlogs.measure(replica=talk.replica.id)
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


SHORT = 3_000
LONG_THREAD = 600

POPULATION = f"""
INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint)
    SELECT 'short-' || n, '1f0', '{{"channel_versions": {{"messages": "1"}}}}'
    FROM generate_series(1, {SHORT}) n;
INSERT INTO checkpoint_blobs (thread_id, channel, version, type)
    SELECT 'short-' || n, 'messages', '1', 'empty' FROM generate_series(1, {SHORT}) n;
INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob)
    SELECT 'short-' || n, '1f0', 'task', 0, 'messages', '' FROM generate_series(1, {SHORT}) n;
INSERT INTO events (thread_id, seq, id, request_id, type, payload, body_hash, trace_context, created_at)
    SELECT 'short-' || n, 1, 'e', 'r', 'user_message', '{{}}', '', '{{}}', now()
    FROM generate_series(1, {SHORT}) n;
INSERT INTO effects (thread_id, event_seq, ordinal, id, log_index, base_id, type, payload, dedupe_key, trace_context,
                     created_at, updated_at)
    SELECT 'short-' || n, 1, 0, 'e', 1, '', 'send_message', '{{}}', 'd', '{{}}', now(), now()
    FROM generate_series(1, {SHORT}) n;
"""


async def rows_read(store: PostgresSubject, sql: asyncpg.Connection) -> int:
    await store.pool.read("SELECT pg_stat_force_next_flush()")
    await store.pool.read("SELECT 1")
    return int(
        await sql.fetchval("SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables")
    )


async def one_turn(talk: Conversation, number: int) -> None:
    """As an owner that has no head in memory works, and a client that follows."""
    claim = await talk.accepted()
    await talk.store.checkpoints.load(talk.thread_id, "", claim.head)
    await talk.store.checkpoints.load(talk.thread_id, "", None)
    await talk.superstep(claim, state_at(2 * number, parent=2 * number - 1))
    await talk.finish(claim, state=state_at(2 * number + 1, parent=2 * number))
    await talk.store.outbox.read(talk.thread_id, after=claim.log_index, limit=PLENTY)
    await talk.view()


async def test_a_turn_reads_no_more_rows_when_its_conversation_is_long(url: str, sql: asyncpg.Connection) -> None:
    async with open_postgres(url, pool_size=1) as opened:
        store = PostgresSubject(opened, url)
        await sql.execute(POPULATION)
        talk = await Conversation.begin(store)
        cost: dict[int, int] = {}
        for number in range(1, LONG_THREAD + 1):
            if number in (5, LONG_THREAD):
                await sql.execute("ANALYZE")
                await store.pool.read("DISCARD PLANS")
                before = await rows_read(store, sql)
                await one_turn(talk, number)
                cost[number] = await rows_read(store, sql) - before
            else:
                await one_turn(talk, number)
    assert cost[LONG_THREAD] <= cost[5] + 5, cost
    assert cost[5] < 100, cost
