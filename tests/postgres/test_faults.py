"""A fault at every statement inside each stored function leaves every table as it was (I4).

For each call, a trigger raises on each table that the call is known to write, one at a time, before and after the row
is written; and that those tables are all there are is checked on the call that succeeds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from msgspec.structs import replace

from tests.contracts.conversation import Conversation, checkpoint_id, owed, replica_of, said, state_at
from tests.contracts.subjects import PostgresSubject
from tests.postgres.whole_tables import changed, everything
from unbroken.domain.checkpoints import StateChange, WriteRow
from unbroken.domain.effects import ReportFailure, RequestInput, ScheduleTimer
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.events import TimerFired
from unbroken.domain.turn import TurnChange

pytestmark = pytest.mark.asyncio

Call = Callable[[], Awaitable[object]]
Prepare = Callable[[Conversation], Awaitable[Call]]

STATE_TABLES = {"heads", "checkpoints", "checkpoint_blobs", "checkpoint_writes"}


def full_state(number: int) -> StateChange:
    """Something for each table: of writes both kinds."""
    writes = tuple(
        WriteRow("", checkpoint_id(number), "task", "~1", idx, "c", "msgpack", b"w", replaces=idx < 0)
        for idx in (-1, 0)
    )
    return replace(state_at(number, parent=number - 1), writes=writes)


async def first_accept(talk: Conversation) -> Call:
    new = talk.new()
    return lambda: talk.accept(new)


async def idle_accept(talk: Conversation) -> Call:
    await talk.finish(await talk.accepted())
    await talk.store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e", after_s=9, payload=1)
    return await first_accept(talk)


async def busy_accept(talk: Conversation) -> Call:
    await talk.accept()
    return await first_accept(talk)


async def promotion(talk: Conversation) -> Call:
    await talk.finish(await talk.accepted())
    await talk.store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e", after_s=0, payload=1)
    new = talk.new(TimerFired("t", 1))
    return lambda: talk.accept(new)


async def takeover(talk: Conversation) -> Call:
    await talk.accept()
    heir = await replica_of(talk.store, talk.replica.name)
    return lambda: talk.claim(heir)


async def superstep(talk: Conversation) -> Call:
    claim = await talk.accepted()
    return lambda: talk.superstep(claim, full_state(1))


async def finish(talk: Conversation) -> Call:
    await talk.superstep(await talk.accepted(), full_state(1))
    claim = await talk.claim()
    assert claim is not None
    effects = owed(claim, said("yes"), RequestInput("q", 1), ScheduleTimer(1.0))
    return lambda: talk.store.unit_of_work.commit(TurnChange(claim, full_state(2), True, effects))


async def finish_and_count_the_next(talk: Conversation) -> Call:
    call = await finish(talk)
    await talk.accept()
    return call


async def failure(talk: Conversation) -> Call:
    claim = await talk.accepted()
    await talk.superstep(claim, full_state(1))
    effects = owed(claim, ReportFailure("model_failed", "no", 1))
    return lambda: talk.store.unit_of_work.commit(TurnChange(claim, StateChange(), True, effects, reverts=True))


async def put(talk: Conversation) -> Call:
    return lambda: talk.store.checkpoints.put(talk.thread_id, full_state(1))


async def reset_timer(talk: Conversation) -> Call:
    await talk.finish(await talk.accepted())
    await talk.store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e1", after_s=9, payload=1)
    return lambda: talk.store.timers.schedule(talk.thread_id, "t", after_event=1, created_by="e2", after_s=9, payload=2)


async def prune(talk: Conversation) -> Call:
    for number in (1, 2, 3):
        await talk.store.checkpoints.put(talk.thread_id, full_state(number))
    return lambda: talk.store.checkpoint_upkeep.prune([talk.thread_id], keep_latest=True)


async def delete_state(talk: Conversation) -> Call:
    await talk.store.checkpoints.put(talk.thread_id, full_state(1))
    return lambda: talk.store.checkpoint_upkeep.delete_thread(talk.thread_id)


CALLS: list[tuple[Prepare, set[str]]] = [
    (first_accept, {"inbox", "sessions", "events"}),
    (idle_accept, {"inbox", "sessions", "events", "timers"}),
    (busy_accept, {"inbox", "events"}),
    (promotion, {"inbox", "sessions", "events", "timers"}),
    (takeover, {"sessions"}),
    (superstep, {"sessions"} | STATE_TABLES),
    (finish, {"sessions", "effects"} | STATE_TABLES),
    (finish_and_count_the_next, {"sessions", "effects"} | STATE_TABLES),
    (failure, {"sessions", "effects", "heads"}),
    (put, STATE_TABLES),
    (reset_timer, {"timers"}),
    (prune, {"checkpoints", "checkpoint_blobs", "checkpoint_writes"}),
    (delete_state, STATE_TABLES),
]


@asynccontextmanager
async def raising(sql: asyncpg.Connection, table: str, moment: str) -> AsyncIterator[None]:
    """Writing a row of `table` fails. At the nth row, if the statement writes several: so at the second one."""
    await sql.execute(
        "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$"
    )
    await sql.execute(
        f"CREATE TRIGGER fails {moment} INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION fails()"
    )
    yield
    await sql.execute("DROP FUNCTION fails CASCADE")


@pytest.mark.parametrize(("prepare", "tables"), CALLS, ids=[prepare.__name__ for prepare, _ in CALLS])
async def test_a_fault_at_any_statement_leaves_every_table_as_it_was(
    store: PostgresSubject, sql: asyncpg.Connection, prepare: Prepare, tables: set[str]
) -> None:
    call = await prepare(await Conversation.begin(store))
    before = await everything(sql)
    for table in sorted(tables):
        for moment in ("BEFORE", "AFTER"):
            async with raising(sql, table, moment):
                with pytest.raises(StoreUnavailable, match="no space left"):
                    await call()
            assert changed(before, await everything(sql)) == set(), f"a fault {moment} {table} left something"
    await call()
    assert changed(before, await everything(sql)) == tables, "a table is written that no fault was tried on"


async def test_a_fault_at_commit_leaves_every_table_as_it_was(store: PostgresSubject, sql: asyncpg.Connection) -> None:
    for prepare in (first_accept, idle_accept, takeover, superstep, finish_and_count_the_next, failure):
        call = await prepare(await Conversation.begin(store))
        before = await everything(sql)
        async with store.commits_fail():
            with pytest.raises(StoreUnavailable, match="no space left"):
                await call()
        assert changed(before, await everything(sql)) == set(), prepare.__name__
        await call()
