"""What people see who look into the database: the brief's words, derived or stored."""

from __future__ import annotations

import random

import asyncpg
import pytest

from tests.contracts.conversation import PLENTY, Conversation, replica_of, said
from tests.contracts.subjects import PostgresSubject
from unbroken.domain.effects import RequestInput, ScheduleTimer, SkipEvent
from unbroken.domain.ports.outbox import Reached
from unbroken.domain.session import SessionKey

pytestmark = pytest.mark.asyncio


async def statuses(sql: asyncpg.Connection, thread_id: str) -> dict[str, str]:
    rows = await sql.fetch(
        "SELECT type || ' ' || row_number() OVER (PARTITION BY type ORDER BY event_seq, ordinal) AS name, status"
        " FROM outbox WHERE thread_id = $1",
        thread_id,
    )
    return {row["name"]: row["status"] for row in rows}


async def test_the_outbox_shows_each_status_as_delivery_goes_on(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), said("one"), ScheduleTimer(1.0))
    await talk.finish(await talk.accepted(), said("two"), RequestInput("q", 1))
    first, second, question, timer = "send_message 1", "send_message 2", "request_input 1", "schedule_timer 1"
    assert await statuses(sql, talk.thread_id) == dict.fromkeys((first, second, question, timer), "pending")
    await store.outbox.mark({talk.thread_id: Reached(2)}, {})
    assert await statuses(sql, talk.thread_id) == {
        first: "executing", second: "executing", question: "pending", timer: "pending"
    }  # fmt: skip
    await store.outbox.mark({talk.thread_id: Reached(3)}, {talk.thread_id: Reached(1)})
    assert await statuses(sql, talk.thread_id) == {
        first: "completed", second: "executing", question: "executing", timer: "pending"
    }  # fmt: skip
    await store.outbox.mark({}, {talk.thread_id: Reached(3)})
    (claim,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=60)
    assert await statuses(sql, talk.thread_id) == {
        first: "completed", second: "completed", question: "completed", timer: "executing"
    }  # fmt: skip
    await store.outbox.postpone(claim, retry_after_s=None)
    assert (await statuses(sql, talk.thread_id))[timer] == "failed"


async def test_the_outbox_names_its_session_checkpoint_and_attempts(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = Conversation(store, await replica_of(store), SessionKey("ann:1", "demo", "thread/é"))
    await talk.finish(await talk.accepted(), SkipEvent("overtaken"))
    await talk.finish(await talk.accepted(), ScheduleTimer(1.0))
    await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=0)
    skipped, timer = await sql.fetch("SELECT * FROM outbox ORDER BY event_seq")
    assert (skipped["status"], skipped["attempt_count"], skipped["last_attempt_at"]) == ("completed", 0, None)
    assert (timer["session_key"], timer["attempt_count"], timer["log_index"]) == (
        "ann%3A1:demo:thread%2F%C3%A9",
        1,
        None,
    )
    assert timer["last_attempt_at"] >= timer["created_at"]


async def test_the_audit_trail_shows_where_each_event_stands(store: PostgresSubject, sql: asyncpg.Connection) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    await talk.accept()
    await talk.accept()
    rows = await sql.fetch("SELECT * FROM audit_trail ORDER BY seq")
    assert [(row["seq"], row["state"]) for row in rows] == [(1, "applied"), (2, "running"), (3, "waiting")]
    assert {row["session_key"] for row in rows} == {str(talk.key)}


async def test_session_keys_read_the_same_in_the_database_and_outside(sql: asyncpg.Connection) -> None:
    rng = random.Random(7)
    alphabet = [*map(chr, range(1, 0x180)), *"\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff😀"]
    keys = [SessionKey(*("".join(rng.choices(alphabet, k=rng.randint(1, 30))) for _ in range(3))) for _ in range(500)]
    shown = await sql.fetchval(
        "SELECT array_agg(unbroken_session_key_v1(u, a, t) ORDER BY place)"
        " FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY keys (u, a, t, place)",
        *([getattr(key, part) for key in keys] for part in ("user_id", "agent_id", "thread_id")),
    )
    assert shown == [str(key) for key in keys]
