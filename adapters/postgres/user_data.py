from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from unbroken.adapters.postgres.audit import decode_notes
from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import decode_json
from unbroken.domain.ports.user_data import Expired, UserData
from unbroken.domain.session import SessionKey

THREADS: Final = """
SELECT thread_id AS "threadId", user_id AS "userId", agent_id AS "agentId", title, created_at AS "createdAt",
    deleted_at IS NOT NULL AS deleted
FROM sessions WHERE user_id = $1 AND thread_id COLLATE "C" > $2 ORDER BY thread_id COLLATE "C" LIMIT 100
"""

EVENTS: Final = """
SELECT seq, id, request_id AS "requestId", received_at AS "receivedAt", created_at AS "createdAt", payload AS body
FROM events WHERE thread_id = $1 AND seq > $2 ORDER BY seq LIMIT 200
"""

EFFECTS: Final = """
SELECT event_seq AS seq, ordinal, id, log_index AS cursor, created_at AS "createdAt", cancelled_at AS "cancelledAt",
    attempts, last_error AS error, payload AS body
FROM effects WHERE thread_id = $1 AND (event_seq, ordinal) > ($2, $3) ORDER BY event_seq, ordinal LIMIT 200
"""

TIMERS: Final = """
SELECT timer_id AS "timerId", generation, status, payload FROM timers WHERE thread_id = $1 ORDER BY timer_id, generation
"""

FILES: Final = """
SELECT file_id AS "fileId", name, mime_type AS "mimeType", created_at AS "createdAt", data
FROM files WHERE thread_id = $1 AND file_id > $2 ORDER BY file_id LIMIT 1
"""

ERASE: Final = "SELECT unbroken_erase_thread_v2($1, $2)"

LOOK: Final = """
SELECT s.thread_id, s.user_id, s.created_at < now() - make_interval(secs => $3) AND s.deleted_at IS NULL AS old
FROM sessions s WHERE s.thread_id > $1 ORDER BY s.thread_id LIMIT $2
"""

UNBOUND: Final = """
SELECT thread_id AS "threadId", user_id AS "userId", metadata, created_at AS "createdAt"
FROM thread_records WHERE user_id = $1 AND thread_id COLLATE "C" > $2 ORDER BY thread_id COLLATE "C" LIMIT 100
"""

ASSISTANTS: Final = """
SELECT v.assistant_id AS "assistantId", v.version, v.graph_id AS "graphId", v.name, v.description, v.config, v.context,
    v.metadata, v.created_at AS "createdAt", v.version = a.version AS counts
FROM assistant_versions v JOIN assistants a ON a.user_id = v.user_id AND a.assistant_id = v.assistant_id
WHERE v.user_id = $1 ORDER BY v.assistant_id, v.version
"""

ERASE_CATALOGUE: Final = tuple(
    f"DELETE FROM {table} WHERE user_id = $1" for table in ("thread_records", "assistant_versions", "assistants")
)

EXPIRE_UNBOUND: Final = """
DELETE FROM thread_records r WHERE r.updated_at < now() - make_interval(secs => $1)
AND NOT EXISTS (SELECT FROM sessions s WHERE s.thread_id = r.thread_id)
"""

EXPIRE: Final = "SELECT unbroken_delete_thread_v2($1, $2, $3) AS agent_id"

LOOK_TEMPORARY: Final = """
SELECT t.thread_id, s.user_id, s.thread_id IS NOT NULL AS old
FROM temporary_threads t LEFT JOIN sessions s ON s.thread_id = t.thread_id AND s.deleted_at IS NULL
WHERE t.thread_id > $1 AND t.created_at < now() - make_interval(secs => $3) ORDER BY t.thread_id LIMIT $2
"""

FORGET_TEMPORARY: Final = "DELETE FROM temporary_threads t WHERE t.thread_id = ANY ($1::text[])"
"""Not part of a deletion, which most of these threads come to by themselves: so none waits for another one's note."""

SWEEP: Final = tuple(
    f"DELETE FROM {table} d WHERE NOT EXISTS (SELECT FROM sessions s WHERE s.thread_id = d.thread_id)"
    for table in ("deliveries", "delivery_marks", "temporary_threads")
)
"""Marks are written without a lock on their session, so that they never wait: one may come when it is gone."""

FORGET_STATISTICS: Final = "SELECT unbroken_forget_statistics_v1()"


class PostgresUserData(UserData):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def export(self, user_id: str) -> AsyncIterator[Mapping[str, Any]]:
        after = ""
        while threads := await self._pool.read(THREADS, user_id, after):
            for thread in threads:
                after = thread["threadId"]
                yield {"record": "thread", **thread}
                async for record in self._records(after):
                    yield record
        after = ""
        while notes := await self._pool.read(UNBOUND, user_id, after):
            for note in notes:
                after = note["threadId"]
                yield {"record": "note", **note, "metadata": decode_json(note["metadata"])}
        for row in await self._pool.read(ASSISTANTS, user_id):
            plain = {name: decode_json(row[name]) for name in ("config", "context", "metadata")}
            yield {"record": "assistant", **row, **plain}

    async def erase(self, user_id: str) -> Sequence[SessionKey]:
        erased: list[SessionKey] = []
        while threads := await self._pool.read(THREADS, user_id, ""):
            for thread in threads:
                await self._pool.write(ERASE, thread["threadId"], user_id)
                erased.append(SessionKey(user_id, thread["agentId"], thread["threadId"]))
        for statement in ERASE_CATALOGUE:
            await self._pool.write(statement, user_id)
        if erased:
            for statement in SWEEP:
                await self._pool.write(statement)
            await self._pool.write(FORGET_STATISTICS)
        return erased

    async def expire(self, *, idle_s: float, after: str, limit: int) -> Expired:
        if not after:
            await self._pool.write(EXPIRE_UNBOUND, idle_s)
        return await self._expire(await self._pool.read(LOOK, after, limit, idle_s), idle_s, limit)

    async def expire_temporary(self, *, idle_s: float, after: str, limit: int) -> Expired:
        looked = await self._pool.read(LOOK_TEMPORARY, after, limit, idle_s)
        expired = await self._expire(looked, idle_s, limit)
        gone = [row["thread_id"] for row in looked if not row["old"]] + [key.thread_id for key in expired.deleted]
        if gone:
            await self._pool.write(FORGET_TEMPORARY, gone)
        return expired

    async def _expire(self, looked: Sequence[Row], idle_s: float, limit: int) -> Expired:
        deleted: list[SessionKey] = []
        for thread in looked:
            if thread["old"]:
                (row,) = await self._pool.write(EXPIRE, thread["thread_id"], thread["user_id"], idle_s)
                if row["agent_id"] is not None:
                    deleted.append(SessionKey(thread["user_id"], row["agent_id"], thread["thread_id"]))
        return Expired(tuple(deleted), looked[-1]["thread_id"] if len(looked) == limit else "")

    async def _records(self, thread_id: str) -> AsyncIterator[Mapping[str, Any]]:
        about = {"threadId": thread_id}
        seq = 0
        while events := await self._pool.read(EVENTS, thread_id, seq):
            seq = events[-1]["seq"]
            for row in events:
                yield {"record": "event", **about, **row, "body": decode_json(row["body"])}
        place = (0, -1)
        while effects := await self._pool.read(EFFECTS, thread_id, *place):
            place = (effects[-1]["seq"], effects[-1]["ordinal"])
            for row in effects:
                notes = decode_notes(row["attempts"]) if row["attempts"] is not None else ()
                yield {"record": "effect", **about, **row, "attempts": notes, "body": decode_json(row["body"])}
        for row in await self._pool.read(TIMERS, thread_id):
            yield {"record": "timer", **about, **row, "payload": decode_json(row["payload"])}
        file_id = ""
        while files := await self._pool.read(FILES, thread_id, file_id):
            (row,) = files
            file_id = row["fileId"]
            yield {"record": "file", **about, **row}
