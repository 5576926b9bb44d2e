from __future__ import annotations

from collections.abc import Collection
from typing import Final

from unbroken.adapters.postgres.pool import Pool
from unbroken.adapters.postgres.rows import encode_json
from unbroken.domain.errors import UnknownFile
from unbroken.domain.files import StoredFile
from unbroken.domain.ports.files import Files
from unbroken.domain.session import SessionKey

ADD: Final = "SELECT unbroken_add_file_v1($1, $2, $3, $4, $5, $6, $7)"

# LIMIT keeps the planner from looking through all of a user's sessions: while there are few it sees no difference.
READ: Final = """
SELECT f.name, f.mime_type, f.data
FROM files f CROSS JOIN (SELECT v.user_id FROM sessions v WHERE v.thread_id = $2 LIMIT 1) s
WHERE f.thread_id = $2 AND f.file_id = $3 AND s.user_id = $1
"""

MISSING: Final = """
SELECT wanted.id FROM unnest($4::text[]) wanted (id)
WHERE NOT EXISTS (
    SELECT FROM files f CROSS JOIN (SELECT v.user_id, v.agent_id FROM sessions v WHERE v.thread_id = $1 LIMIT 1) s
    WHERE f.thread_id = $1 AND f.file_id = wanted.id AND s.user_id = $2 AND s.agent_id = $3)
"""


class PostgresFiles(Files):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(
        self, user_id: str, thread_id: str, *, file_id: str, name: str, mime_type: str, data: bytes, limit: int
    ) -> StoredFile:
        encode_json("name", [name, mime_type])
        await self._pool.write(ADD, thread_id, user_id, file_id, name, mime_type, data, limit)
        return StoredFile(file_id, name, mime_type, len(data))

    async def read(self, user_id: str, thread_id: str, file_id: str) -> tuple[StoredFile, bytes]:
        rows = await self._pool.read(READ, user_id, thread_id, file_id)
        if not rows:
            raise UnknownFile(file_id)
        (row,) = rows
        data: bytes = row["data"]
        return StoredFile(file_id, row["name"], row["mime_type"], len(data)), data

    async def missing(self, key: SessionKey, file_ids: Collection[str]) -> frozenset[str]:
        rows = await self._pool.read(MISSING, key.thread_id, key.user_id, key.agent_id, list(file_ids))
        return frozenset(row["id"] for row in rows)
