"""A store whose database refuses to touch any row of another session than the one a statement is for.

Row level security asks a function about every row that is read, changed or added, before anything else is asked about
it; the function raises if the row is of another thread than the statement's. It binds everybody but the tables' owner,
so the product connects as somebody else. Nothing here reads SQL: what counts is which rows are touched.

Every statement is held to that but those of BETWEEN, each with its reason. The thread that it is for is its first
argument (reading a file asks for its user before).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from unbroken.adapters.postgres import (
    backlog,
    controls,
    files,
    group_commit,
    health,
    outbox,
    replicas,
    sessions,
    threads,
    timers,
)
from unbroken.adapters.postgres.pool import Pool, Row, open_pool
from unbroken.adapters.postgres.store import WARMED, PostgresStore

TOUCHED_ANOTHER: Final = "WT001"
ANY: Final = "*"
NO_SESSIONS: Final = ""
"""What has no arguments is for no session, and may touch none."""
ROLE, PASSWORD = "somebody_else", "somebody-else"

REPLICAS: Final = "of replicas, which every session's statements may read: few rows, to be copied to every shard"
POLL: Final = "a poll, once an interval and replica, whose rows are found by small partial indexes; of no turn"

BETWEEN: Final[Mapping[str, str]] = {
    sessions.STRAYS: POLL,
    sessions.BEHIND: POLL,
    controls.MARKED: POLL,
    outbox.CLAIM: POLL,
    outbox.NEXT_DUE: POLL,
    timers.DUE: POLL,
    timers.NEXT_DUE: POLL,
    threads.GONE: POLL,
    outbox.MARK: "acknowledgements: all of a process and second in one statement, each by its own key; of no turn",
    replicas.JOIN: REPLICAS,
    replicas.LEAVE: REPLICAS,
    replicas.RENEW: REPLICAS,
    health.LOOK: REPLICAS,
    backlog.MEASURE: "for gauges",
    threads.DELETE: "asks for thread and user; while there are few sessions, a plan may look through all of the user's",
    **{
        group_commit.commits(
            count
        ): "several calls of one function, each for its own session and with a fence of its own"
        for count in range(2, group_commit.MOST + 1)
    },
}
"""Statements that are no session's, or several sessions', and why that is no part of a turn."""

WATCH: Final = f"""
CREATE FUNCTION one_session(seen text) RETURNS boolean LANGUAGE plpgsql VOLATILE COST 0.0001 AS $$
DECLARE
    mine text := current_setting('watch.thread');
BEGIN
    IF mine IN (seen, '{ANY}') THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION 'a row of % was touched for %', seen, mine USING ERRCODE = '{TOUCHED_ANOTHER}';
END $$;
DO $$ DECLARE t record; BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
        CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}';
    END IF;
    FOR t IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'thread_id' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.name);
        EXECUTE format('CREATE POLICY one_session ON %s USING (one_session(thread_id))', t.name);
    END LOOP;
END $$;
GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE};
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE};
"""
"""It is cheap, so the planner asks it first of all that is asked about a row."""


async def watched_url(url: str) -> str:
    """Put the watch on the database at `url`, and return its URL for somebody whom it binds."""
    owner = await asyncpg.connect(url)
    try:
        await owner.execute(WATCH)
    finally:
        await owner.close()
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{ROLE}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


class WatchedPool(Pool):
    """One connection, told before each statement whose it is."""

    def __init__(self, inner: Pool) -> None:
        self._inner = inner
        self._turn = asyncio.Lock()
        self.seen: Counter[str] = Counter()
        self.touched: list[str] = []
        """What was touched of others, and by which statement."""

    async def read(self, query: str, *args: Any) -> Sequence[Row]:
        return await self._watched(self._inner.read, query, args)

    async def write(self, query: str, *args: Any) -> Sequence[Row]:
        return await self._watched(self._inner.write, query, args)

    def checked_out(self) -> int:
        return self._inner.checked_out()

    def connected(self) -> int:
        return self._inner.connected()

    async def close(self) -> None:
        await self._inner.close()

    async def _watched(
        self, run: Callable[..., Awaitable[Sequence[Row]]], query: str, args: tuple[Any, ...]
    ) -> Sequence[Row]:
        thread = ANY if query in BETWEEN else str(args[query == files.READ]) if args else NO_SESSIONS
        async with self._turn:
            self.seen[query] += 1
            await self._inner.read("SELECT set_config('watch.thread', $1, false)", thread)
            try:
                return await run(query, *args)
            except Exception as error:
                if getattr(error.__cause__, "sqlstate", None) == TOUCHED_ANOTHER:
                    self.touched.append(f"{error.__cause__} by {query[:200]}")
                raise


@asynccontextmanager
async def open_watched(url: str) -> AsyncIterator[tuple[PostgresStore, WatchedPool]]:
    """The product's stores over the database at `url`, which is watched."""
    pool = WatchedPool(await open_pool(await watched_url(url), size=1, statements=WARMED))
    try:
        yield PostgresStore(pool), pool
    finally:
        await pool.close()
