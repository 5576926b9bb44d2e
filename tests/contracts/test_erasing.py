"""Erasing a user: everything that names them or was said with them goes, whatever still runs; exporting: all of it."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.contracts.conversation import PLENTY, Conversation, owed, said, state_at, unique
from tests.contracts.subjects import MemorySubject, PostgresSubject, Subject
from unbroken.domain.checkpoints import BlobRow, StateChange, WriteRow
from unbroken.domain.effects import CancelTurn, RequestInput, ScheduleTimer
from unbroken.domain.errors import Fenced, ThreadDeleted
from unbroken.domain.events import InputResponse, NewEvent, UserMessage
from unbroken.domain.ports.outbox import Reached
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.turn import TurnChange

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "s3cr3t-marker"
"""In everything that the user says, is told, names or attaches."""

COLUMNS = """
SELECT n.nspname AS schema, c.relname AS table, a.attname AS column, t.typname AS type
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'm', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname NOT LIKE 'pg_temp%'
"""
"""Of every table of every schema, the system's and its statistics included."""


async def rows_holding(store: PostgresSubject, *markers: str) -> set[str]:
    """Where any of these stands: in text, inside JSON, in bytes plain or as hexadecimal digits."""
    found: set[str] = set()
    connection = await asyncpg.connect(store.url)
    try:
        for schema, table, column, type_ in await connection.fetch(COLUMNS):
            value = f"encode({column!r}, 'escape')".replace("'" + column + "'", f'"{column}"')
            text = value if type_ == "bytea" else f'"{column}"::text'
            for marker in markers:
                query = f"""SELECT count(*) FROM "{schema}"."{table}" WHERE strpos({text}, $1) > 0"""
                if await connection.fetchval(query, marker):
                    found.add(f"{schema}.{table}.{column}")
    finally:
        await connection.close()
    return found


async def places(store: Subject, *markers: str) -> set[str]:
    if isinstance(store, PostgresSubject):
        return await rows_holding(store, *markers)
    assert isinstance(store, MemorySubject)
    database = store.database
    tables = {
        name: repr(getattr(database, name))
        for name in ("sessions", "agent_states", "marks", "leases", "boots", "files", "erased")
    } | {name: repr(getattr(database, name)) for name in ("unfinished", "owing", "armed")}
    return {name for name, rows in tables.items() if any(marker in rows for marker in markers)}


def secret(claim: Claim, number: int) -> StateChange:
    """A state that holds the marker in every column that can."""
    state = state_at(number, run_id=SECRET)
    (row,) = state.checkpoints
    blob = BlobRow("", "messages", f"{number:032}", "msgpack", SECRET.encode())
    write = WriteRow("", row.checkpoint_id, "task", SECRET, 0, "messages", "msgpack", SECRET.encode(), False)
    return StateChange(state.checkpoints, (blob,), (write,), state.heads)


async def a_rich_life(store: Subject, user: str) -> list[Conversation]:
    """Threads that wait, run, ask, have timers, controls and files, have names, and were deleted."""
    talks: list[Conversation] = []
    for number in range(4):
        key = SessionKey(user, SECRET, f"{user}-{number}")
        talk = Conversation(store, (await Conversation.begin(store)).replica, key)
        trace = {"traceparent": SECRET}
        new = NewEvent(unique(SECRET), unique(SECRET), UserMessage([{"type": "text", "text": SECRET}]), trace)
        claim = await talk.accepted(new)
        await talk.superstep(claim, secret(claim, 1))
        bodies = (said(SECRET), RequestInput(f"{SECRET}:1", {"ask": SECRET}), ScheduleTimer(99.0, SECRET, SECRET))
        await store.unit_of_work.commit(
            TurnChange(claim, secret(claim, 2), True, owed(claim, *bodies), open_questions=(f"{SECRET}:1",))
        )
        claim = await talk.accepted(talk.new(InputResponse(f"{SECRET}:1", SECRET), request_id=unique(SECRET)))
        await talk.accept(talk.new(UserMessage(SECRET)))
        await store.timers.schedule(
            talk.thread_id, SECRET, after_event=PLENTY, created_by=SECRET, after_s=9, payload=SECRET
        )
        await talk.cancel(claim.event.request_id)
        await store.threads.rename(user, talk.thread_id, SECRET)
        await store.outbox.mark({talk.thread_id: Reached(2)}, {talk.thread_id: Reached(1)})
        await store.files.add(
            user,
            talk.thread_id,
            file_id=unique(SECRET),
            name=SECRET,
            mime_type="text/plain",
            data=SECRET.encode(),
            limit=9,
        )
        talks.append(talk)
    await store.threads.delete(user, talks[0].thread_id)
    return talks


async def test_a_user_who_was_erased_is_in_no_column_of_any_table(store: Subject) -> None:
    user = unique("user")
    bystander = await Conversation.begin(store)
    await bystander.finish(await bystander.accepted(), state=state_at(1))
    talks = await a_rich_life(store, user)
    if isinstance(store, PostgresSubject):
        await store.pool.write("ANALYZE")
        held = await places(store, SECRET)
        assert {"public.events.payload", "public.checkpoint_blobs.blob", "public.files.data"} <= held
    assert len(await places(store, SECRET, user)) >= 3
    assert {key.thread_id for key in await store.user_data.erase(user)} == {talk.thread_id for talk in talks}
    assert await places(store, SECRET, user) == set()
    assert await store.user_data.erase(user) == []
    assert await bystander.log() == [(1, "answer 1")]


async def test_an_attempt_of_an_erased_user_is_fenced_out_and_nothing_reappears(store: Subject) -> None:
    user = unique("user")
    talks = await a_rich_life(store, user)
    claims: list[Claim] = []
    for talk in talks[1:]:
        claim = await talk.claim()
        assert claim is not None
        claims.append(claim)
    effects = await store.outbox.claim(replica=talks[0].replica.id, limit=PLENTY, until_s=9)
    await store.user_data.erase(user)
    for talk, claim in zip(talks[1:], claims, strict=True):
        with pytest.raises(Fenced):
            await talk.superstep(claim, secret(claim, 7))
        with pytest.raises(Fenced):
            await talk.finish(claim, said(SECRET), state=secret(claim, 8), cancels=True)
        await store.timers.schedule(talk.thread_id, SECRET, after_event=9, created_by="e", after_s=9, payload=SECRET)
        await store.outbox.mark({talk.thread_id: Reached(3)}, {talk.thread_id: Reached(3)})
        assert await talk.claim() is None
        assert not await talk.is_stray_for(talk.replica)
    theirs = [effect for effect in effects if effect.thread_id.startswith(user)]
    assert [await store.outbox.complete(effect) for effect in theirs] == [False] * 3
    assert await places(store, SECRET, user) == set()


async def test_an_erased_threads_id_is_never_bound_again(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    user = talk.key.user_id
    await store.user_data.erase(user)
    for key in (talk.key, SessionKey("somebody", "demo", talk.thread_id)):
        with pytest.raises(ThreadDeleted):
            await store.threads.create(key)
        with pytest.raises(ThreadDeleted):
            await talk.accept(key=key)
    with pytest.raises(Fenced):
        await talk.finish(claim)
    assert await store.threads.gone([talk.thread_id]) == {talk.thread_id}


@pytest.mark.parametrize("round_", range(5))
async def test_an_erasure_that_meets_turns_and_messages_leaves_nothing(store: Subject, round_: int) -> None:
    user = unique("user")
    talks = [
        Conversation(store, (await Conversation.begin(store)).replica, SessionKey(user, "demo", f"{user}-{number}"))
        for number in range(3)
    ]

    async def chatter(talk: Conversation) -> None:
        for _ in range(5):
            claim = await talk.accepted(talk.new(UserMessage(SECRET)))
            await talk.superstep(claim, secret(claim, 2 * claim.event.seq))
            await talk.finish(claim, said(SECRET), state=secret(claim, 2 * claim.event.seq + 1))

    async def erase_later() -> None:
        await asyncio.sleep(0.003 * round_)
        await store.user_data.erase(user)

    outcomes = await asyncio.gather(*map(chatter, talks), erase_later(), return_exceptions=True)
    assert outcomes[-1] is None
    assert all(isinstance(outcome, Fenced | ThreadDeleted | None) for outcome in outcomes), outcomes
    await store.user_data.erase(user)  # threads that were born after the first look
    assert await places(store, SECRET, user) == set()


async def test_an_export_holds_everything_about_a_user_and_nothing_about_others(store: Subject) -> None:
    user = unique("user")
    talks = await a_rich_life(store, user)
    await a_rich_life(store, unique("other"))
    records = [record async for record in store.user_data.export(user)]
    by_kind: dict[str, list[Any]] = {}
    for record in records:
        assert record["threadId"] in {talk.thread_id for talk in talks}
        by_kind.setdefault(record["record"], []).append(record)
    counts = {kind: len(found) for kind, found in by_kind.items()}
    assert counts == {"thread": 4, "event": 9, "effect": 9, "timer": 3, "file": 3}
    assert [thread["deleted"] for thread in by_kind["thread"]] == [True, False, False, False]
    assert by_kind["thread"][1]["title"] == SECRET
    (first, *_) = by_kind["event"]
    told = msgspec.to_builtins(first["body"])
    assert (first["seq"], told) == (1, {"type": "user_message", "content": [{"type": "text", "text": SECRET}]})
    kinds = {effect["body"]["type"] for effect in by_kind["effect"]}
    assert kinds == {"send_message", "request_input", "schedule_timer"}
    assert by_kind["file"][0]["data"] == SECRET.encode()
    assert "receivedAt" in first
    ended = by_kind["effect"][0]
    assert [note.run for note in ended["attempts"]] == [1]
    assert (ended["cancelledAt"], ended["error"]) == (None, None)
    msgspec.json.encode(records)


async def test_an_export_holds_why_an_effect_failed_and_when_a_turn_was_stopped(store: Subject) -> None:
    """An error's words may repeat the user's."""
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.cancel(claim.event.request_id)
    await talk.finish(claim, CancelTurn("so far", claim.run), ScheduleTimer(1.0), cancels=True)
    (owed,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
    await store.outbox.postpone(owed, retry_after_s=None, error=f"ValueError: {SECRET}")
    records = [record async for record in store.user_data.export(talk.key.user_id)]
    stopped, timer = [record for record in records if record["record"] == "effect"]
    assert stopped["cancelledAt"] is not None
    assert timer["error"] == f"ValueError: {SECRET}"


async def test_nobody_is_exported_as_nothing(store: Subject) -> None:
    assert [record async for record in store.user_data.export(unique("nobody"))] == []
