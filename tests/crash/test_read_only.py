"""A database that only reads: what is said then is refused for now, and kept as soon as it writes again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from tests.checker.check import violations
from tests.checker.history import read_trace
from tests.checker.sources import tables_of_postgres
from tests.crash.recorder import writer_to
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread


async def set_read_only(url: str, value: str) -> None:
    """For every connection from now on; those that were open are ended."""
    sql = await asyncpg.connect(url)
    try:
        await sql.execute("SET default_transaction_read_only = off")
        name = await sql.fetchval("SELECT quote_ident(current_database())")
        await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
        await sql.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await sql.close()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_what_is_said_to_a_read_only_database_is_refused_for_now_and_answered_once_it_writes(
    folder: Path, database_url: str
) -> None:
    trace = folder / "t.jsonl"
    server = Server(folder, database_url=database_url)
    server.start()
    try:
        await asyncio.to_thread(server.wait_ready)
        with trace.open("a", encoding="utf-8", buffering=1) as writing:
            async with Client(server.url, thread="t", agent="one", stays=True, record=writer_to(writing)) as client:
                running = await client.say("words=20 pause=0.05")
                await client.until(lambda c: bool(c.view.shown.get(running)))
                await set_read_only(database_url, "on")
                refused = await client.say("not now words=2")
                await client.until(lambda c: bool(c.view.refusals))
                assert client.view.refusals[0]["retryable"]
                assert refused not in client.view.receipts, "no receipt for what is not stored"
                await set_read_only(database_url, "off")
                ends = await client.answered(running, refused)
                assert [end["type"] for end in ends] == ["final", "final"]
                assert client.view.faults == []
        tables = await tables_of_postgres(database_url)
        stored = await read_thread(database_url, "t")
    finally:
        await asyncio.to_thread(server.stop)
    assert [event.request_id for event in stored.events] == [running, refused]
    assert violations(read_trace(trace), tables, watched_to_the_end=["t"]) == []
