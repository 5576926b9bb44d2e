"""A row that somebody else holds: what a server wants of it waits, in the database, in the middle of its statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Final, Literal, Self

import asyncpg

from tests.end_to_end.client import PATIENCE_S

Table = Literal["inbox", "sessions"]
Waiters = set[tuple[int, datetime]]
"""Process and beginning of each statement."""
STATEMENT: Final[dict[Table, str]] = {
    "inbox": "SELECT FROM inbox WHERE thread_id = $1 FOR UPDATE",
    "sessions": "SELECT FROM sessions WHERE thread_id = $1 FOR UPDATE",
}
WAITING: Final = """
SELECT pid, query_start FROM pg_stat_activity
WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)) AND query LIKE $1
"""


class RowLock:
    """`async with RowLock(url, "sessions", thread) as lock:` holds that row, which must exist, within the block."""

    def __init__(self, database_url: str, table: Table, thread: str) -> None:
        self._database_url = database_url
        self._table: Table = table
        self._thread = thread
        self._sql: asyncpg.Connection | None = None

    async def __aenter__(self) -> Self:
        self._sql = sql = await asyncpg.connect(self._database_url)
        await sql.execute("BEGIN")
        held = await sql.execute(STATEMENT[self._table], self._thread)
        assert held == "SELECT 1", f"{self._table} has no row of {self._thread}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sql is not None
        await self._sql.close()

    async def is_awaited(self, function: str) -> bool:
        return bool(await self._waiters(function))

    async def awaited(self, function: str) -> None:
        """Until a statement that calls a stored function with such a beginning of its name waits for the row."""
        await self._until(function, bool)

    async def given_up(self, function: str) -> None:
        """Until such a statement waits, and then until none of those that waited does any more; another may."""
        await self.awaited(function)
        waited = await self._waiters(function)
        await self._until(function, lambda waiters: not waiters & waited)

    async def _until(self, function: str, reached: Callable[[Waiters], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not reached(await self._waiters(function)):  # noqa: ASYNC110 (the server is another process)
                await asyncio.sleep(0.02)

    async def _waiters(self, function: str) -> Waiters:
        assert self._sql is not None
        await self._sql.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction it would stay as it was
        return {(row["pid"], row["query_start"]) for row in await self._sql.fetch(WAITING, f"%{function}%")}
