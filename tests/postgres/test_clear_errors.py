"""What is wrong is said in one line, without secrets, and only to the call that it concerns."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from msgspec.structs import replace

from tests.conftest import on_database
from tests.contracts.conversation import Conversation, checkpoint_id, owed, said, state_at
from tests.contracts.subjects import PostgresSubject
from tests.postgres.whole_tables import changed, everything
from unbroken.adapters.postgres.migrate import migrate
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.checkpoints import StateChange, WriteRow
from unbroken.domain.effects import RequestInput
from unbroken.domain.errors import InvalidValue, StoreUnavailable, UnbrokenError
from unbroken.domain.events import InputResponse, TimerFired
from unbroken.domain.turn import TurnChange

pytestmark = pytest.mark.asyncio

SECRET = "hunter2"


@dataclass
class WrongUrl:
    make: Callable[[str], str]
    kind: type[UnbrokenError]
    says: str


def unused(url: str) -> str:
    """No server listens on port 1."""
    return f"postgresql://u:{SECRET}@127.0.0.1:1/x"


WRONG = {
    "no server": WrongUrl(unused, StoreUnavailable, "cannot reach the database at 127.0.0.1:1: .*Connect"),
    "no such host": WrongUrl(
        lambda _: f"postgresql://u:{SECRET}@no-such-host.invalid/x",
        StoreUnavailable,
        "cannot reach the database at no-such-host",
    ),
    "wrong password": WrongUrl(
        lambda url: re.sub(r":[^:/@]+@", f":{SECRET}@", url, count=1),
        StoreUnavailable,
        "password authentication failed",
    ),
    "no such database": WrongUrl(
        lambda url: on_database(url, "nowhere"), StoreUnavailable, 'database "nowhere" does not exist'
    ),
    "not a URL": WrongUrl(lambda _: f"mysql://u:{SECRET}@h/x", InvalidValue, "DATABASE_URL: "),
    "not a port": WrongUrl(lambda _: f"postgresql://u:{quote(SECRET)}@h:port/x", InvalidValue, "DATABASE_URL: "),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
async def test_a_wrong_url_is_told_in_one_line_without_its_password(url: str, wrong: WrongUrl) -> None:
    async def open_stores(url: str) -> None:
        async with open_postgres(url, pool_size=2):
            pytest.fail("it opened")

    for use in (open_stores, migrate):
        with pytest.raises(wrong.kind, match=wrong.says) as failure:
            await asyncio.wait_for(use(wrong.make(url)), 20)
        assert "\n" not in str(failure.value)
        assert SECRET not in str(failure.value)


async def test_a_database_that_was_never_migrated_is_told_so(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="run `unbroken migrate`"):
        async with open_postgres(on_database(url, "template1"), pool_size=2):
            pytest.fail("it opened")


async def test_text_that_no_database_can_hold_is_refused_and_the_connection_goes_on(url: str) -> None:
    async with open_postgres(url, pool_size=1) as store:
        talk = await Conversation.begin(PostgresSubject(store, url))
        pid = await store.pool.read("SELECT pg_backend_pid()")
        for request_id in ("nul \x00", "half a pair \ud800"):
            with pytest.raises(InvalidValue):
                await talk.accept(talk.new(request_id=request_id))
        with pytest.raises(InvalidValue):
            await talk.accept(talk.new(TimerFired("t", 2**70)))
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(InvalidValue):
            await talk.accept(talk.new(InputResponse("q", deep)))
        assert (await talk.accept()).event.seq == 1
        assert await store.pool.read("SELECT pg_backend_pid()") == pid


async def test_state_that_no_database_can_hold_is_refused_and_the_commit_can_be_repeated(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    before = await everything(sql)
    good = state_at(1)
    row = good.checkpoints[0]
    write = WriteRow("", checkpoint_id(1), "task", "", 0, "c", "msgpack", b"", False)
    for bad in (
        replace(row, checkpoint=b"{not json"),
        replace(row, metadata=b'{"nul": "\\u0000"}'),
        replace(row, checkpoint=b'{"half": "\\ud800"}'),
        replace(row, checkpoint=b"\xff\xfe"),
        replace(row, checkpoint_id="nul \x00"),
        replace(row, checkpoint=b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ):
        with pytest.raises(InvalidValue) as refusal:
            await talk.finish(claim, state=replace(good, checkpoints=(bad,)))
        assert "\n" not in str(refusal.value)
    for rows in (replace(write, channel="\x00"), replace(write, idx=2**40)):
        with pytest.raises(InvalidValue):
            await talk.finish(claim, state=StateChange(writes=(rows,)))
    with pytest.raises(InvalidValue, match="effect: "):
        await talk.finish(claim, RequestInput("q", "\x00"), state=good)
    assert changed(before, await everything(sql)) == set()
    await talk.finish(claim, state=good)


async def test_an_effect_that_exists_already_is_a_broken_invariant_and_writes_nothing(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    first = owed(claim, said("once"))
    await store.unit_of_work.commit(TurnChange(claim, StateChange(), True, first))
    claim = await talk.accepted()
    before = await everything(sql)
    with pytest.raises(AssertionError, match="effects_dedupe_key_key"):
        await store.unit_of_work.commit(TurnChange(claim, state_at(1), True, first))
    assert changed(before, await everything(sql)) == set()


async def test_a_read_only_database_is_unavailable_and_not_a_defect(url: str, sql: asyncpg.Connection) -> None:
    """As a standby is, after a failover that the application has not followed."""
    async with open_postgres(url, pool_size=1) as store:
        talk = await Conversation.begin(PostgresSubject(store, url))
        await store.pool.read("SET default_transaction_read_only = on")
        with pytest.raises(StoreUnavailable, match="read-only transaction"):
            await talk.accept()
        await store.pool.read("SET default_transaction_read_only = off")
        assert (await talk.accept()).event.seq == 1
