"""What is left of a run without a thread, where the process that was to delete its thread was killed before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tests.crash.row_lock import RowLock
from tests.end_to_end.client import PATIENCE_S
from tests.end_to_end.conftest import folder
from tests.end_to_end.server import Server
from tests.end_to_end.test_answered_elsewhere import ENVIRONMENT
from tests.langgraph_api.test_runs_outlive import clients, human

__all__ = ["folder"]

BREAK_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%unbroken_delete_thread%'
"""
"""A backend that waits for a lock does not notice that its client is gone."""
LONG_AGO = "created_at = created_at - interval '1 day'"
ENDED = "SELECT s.applied_seq = 1 AND s.deleted_at IS NULL FROM sessions s WHERE s.thread_id = $1"
GONE = """
SELECT s.deleted_at IS NOT NULL AND NOT EXISTS (SELECT FROM events e WHERE e.thread_id = s.thread_id)
    AND NOT EXISTS (SELECT FROM temporary_threads t WHERE t.thread_id = s.thread_id)
FROM sessions s WHERE s.thread_id = $1
"""


@pytest.mark.asyncio
async def test_a_thread_whose_server_was_killed_between_its_runs_end_and_its_deletion_goes_with_the_next_start(
    folder: Path, new_database: Callable[[int], str]
) -> None:
    url = new_database(18)
    server = Server(folder, database_url=url, environment=ENVIRONMENT)
    sql = await asyncpg.connect(url)
    try:
        with server:
            async with clients(server) as (client,):
                run = await client.runs.create(None, "one", input=human("words=20 pause=0.05"))
            thread = run["thread_id"]
            async with RowLock(url, "inbox", thread) as held:
                await held.awaited("unbroken_delete_thread")
                server.kill()
                await sql.execute(BREAK_OFF)
            assert await sql.fetchval(ENDED, thread)
        for table in ("sessions", "events", "effects", "temporary_threads"):
            await sql.execute(f"UPDATE {table} SET {LONG_AGO}")
        with server:
            async with asyncio.timeout(PATIENCE_S):
                while not await sql.fetchval(GONE, thread):  # noqa: ASYNC110 (the server is another process)
                    await asyncio.sleep(0.05)
    finally:
        await sql.close()
