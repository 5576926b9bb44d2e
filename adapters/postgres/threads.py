from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import encode_json
from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.ports.threads import Threads
from unbroken.domain.session import SessionKey
from unbroken.domain.threads import OPENING, Place, Thread, derived_title, status_of

ACTIVE: Final = """
SELECT s.*, greatest(s.created_at, heard.created_at, spoken.created_at) AS updated_at,
    coalesce(heard.seq, 0) > s.applied_seq AS unfinished
FROM sessions s
LEFT JOIN LATERAL (
    SELECT e.seq, e.created_at FROM events e WHERE e.thread_id = s.thread_id ORDER BY e.seq DESC LIMIT 1) heard ON true
LEFT JOIN LATERAL (
    SELECT f.created_at FROM effects f
    WHERE f.thread_id = s.thread_id AND f.log_index = s.log_index LIMIT 1) spoken ON true
"""
"""Two look-ups a thread: keeping the moment in the session's row would cost each turn an index entry instead."""

COLUMNS: Final = f"""
t.thread_id, t.user_id, t.agent_id, t.created_at, t.updated_at, t.deleted_at, t.log_index, t.unfinished,
cardinality(t.open_questions) > 0 AS asks,
coalesce((SELECT d.acked FROM deliveries d WHERE d.thread_id = t.thread_id), 0) AS acked,
t.title, CASE WHEN t.title IS NULL THEN (
    SELECT left(unbroken_said_v1(e.type, e.payload), {OPENING})
    FROM events e WHERE e.thread_id = t.thread_id AND e.seq = 1) END AS opening
"""

GET: Final = f"SELECT {COLUMNS} FROM ({ACTIVE} WHERE s.thread_id = $1) t"

HOLDS: Final = """
$4 = '' OR strpos(lower(t.title), lower($4)) > 0
OR EXISTS (SELECT FROM events e WHERE e.thread_id = t.thread_id
           AND strpos(lower(unbroken_said_v1(e.type, e.payload)), lower($4)) > 0)
OR EXISTS (SELECT FROM effects f WHERE f.thread_id = t.thread_id
           AND strpos(lower(unbroken_said_v1(f.type, f.payload)), lower($4)) > 0)
"""
"""No pattern: a user's `%` is a per cent sign. Newest threads are searched first, and only until the page is full."""

PAGE: Final = f"""
SELECT {COLUMNS} FROM (
    SELECT * FROM ({ACTIVE} WHERE s.user_id = $1 AND s.deleted_at IS NULL) mine
    WHERE $2::timestamptz IS NULL OR (mine.updated_at, mine.thread_id COLLATE "C") < ($2, $3::text)
    ORDER BY mine.updated_at DESC, mine.thread_id COLLATE "C" DESC OFFSET 0) t
WHERE {HOLDS}
ORDER BY t.updated_at DESC, t.thread_id COLLATE "C" DESC LIMIT $5
"""

COUNT: Final = """
SELECT (SELECT count(*) FROM sessions s WHERE s.user_id = $1 AND s.deleted_at IS NULL)
    + (SELECT count(*) FROM thread_records r WHERE r.user_id = $1
       AND NOT EXISTS (SELECT FROM sessions s WHERE s.thread_id = r.thread_id)) AS count
"""

CREATE: Final = "SELECT unbroken_create_thread_v2($1, $2, $3, $4)"

RENAME: Final = """
UPDATE sessions SET title = $3 WHERE thread_id = $1 AND user_id = $2 AND deleted_at IS NULL RETURNING true
"""

DELETE: Final = "SELECT unbroken_delete_thread_v2($1, $2, NULL) AS agent_id"

GONE: Final = """
SELECT t.thread_id FROM json_array_elements_text($1::text::json) t (thread_id)
WHERE NOT EXISTS (SELECT FROM sessions s WHERE s.thread_id = t.thread_id AND s.deleted_at IS NULL)
"""
"""Asked about every session that is watched here, each second: one text is a fifth of an array's cost for us."""


class PostgresThreads(Threads):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, user_id: str, thread_id: str) -> Thread:
        rows = await self._pool.read(GET, thread_id)
        if not rows or rows[0]["user_id"] != user_id:
            raise NotYourThread(thread_id)
        if rows[0]["deleted_at"] is not None:
            raise ThreadDeleted(thread_id)
        return _thread(rows[0])

    async def page(self, user_id: str, *, query: str = "", before: Place | None = None, limit: int) -> Sequence[Thread]:
        encode_json("query", query)
        place = (before.updated_at, before.thread_id) if before else (None, None)
        return [_thread(row) for row in await self._pool.read(PAGE, user_id, *place, query, limit)]

    async def count(self, user_id: str) -> int:
        (row,) = await self._pool.read(COUNT, user_id)
        return int(row["count"])

    async def create(self, key: SessionKey, *, title: str | None = None) -> Thread:
        encode_json("title", title)
        await self._pool.write(CREATE, key.thread_id, key.user_id, key.agent_id, title)
        return await self.get(key.user_id, key.thread_id)

    async def rename(self, user_id: str, thread_id: str, title: str | None) -> Thread:
        encode_json("title", title)
        await self._pool.write(RENAME, thread_id, user_id, title)
        return await self.get(user_id, thread_id)

    async def delete(self, user_id: str, thread_id: str) -> SessionKey:
        (row,) = await self._pool.write(DELETE, thread_id, user_id)
        if row["agent_id"] is None:
            raise NotYourThread(thread_id)
        return SessionKey(user_id, row["agent_id"], thread_id)

    async def gone(self, thread_ids: Collection[str]) -> frozenset[str]:
        asked = encode_json("thread_ids", list(thread_ids)).decode()
        return frozenset(row["thread_id"] for row in await self._pool.read(GONE, asked))


def _thread(row: Row) -> Thread:
    return Thread(
        thread_id=row["thread_id"],
        agent_id=row["agent_id"],
        title=row["title"] if row["title"] is not None else derived_title(row["opening"] or ""),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        cursor=row["log_index"],
        acked=row["acked"],
        status=status_of(unfinished=row["unfinished"], asks=row["asks"]),
    )
