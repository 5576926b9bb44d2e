from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import decode_json, encode_json
from unbroken.domain.catalogue import MAX_ASSISTANTS, MAX_VERSIONS, Assistant, Preset
from unbroken.domain.errors import TooMany, UnknownAssistant
from unbroken.domain.ports.assistants import Assistants

CREATE: Final = """
WITH made AS (
    INSERT INTO assistants (user_id, assistant_id, version, newest, created_at, updated_at)
    SELECT $1, $2, 1, 1, now(), now() WHERE (SELECT count(*) FROM assistants WHERE user_id = $1) < $9
    ON CONFLICT DO NOTHING RETURNING user_id, assistant_id, version, created_at),
first AS (
    INSERT INTO assistant_versions
        (user_id, assistant_id, version, graph_id, name, description, config, context, metadata, created_at)
    SELECT user_id, assistant_id, version, $3, $4, $5, $6, $7, $8, created_at FROM made RETURNING true)
SELECT * FROM first
"""

COLUMNS: Final = """
a.assistant_id, v.version, v.graph_id, v.name, v.description, v.config, v.context, v.metadata
"""
CURRENT: Final = f"""
SELECT {COLUMNS}, a.created_at, a.updated_at FROM assistants a
JOIN assistant_versions v ON v.user_id = a.user_id AND v.assistant_id = a.assistant_id AND v.version = a.version
WHERE a.user_id = $1
"""
GET: Final = f"{CURRENT} AND a.assistant_id = $2"
LIST: Final = f'{CURRENT} ORDER BY a.created_at, a.assistant_id COLLATE "C"'

VERSIONS: Final = f"""
SELECT {COLUMNS}, v.created_at, v.created_at AS updated_at FROM assistants a
JOIN assistant_versions v ON v.user_id = a.user_id AND v.assistant_id = a.assistant_id
WHERE a.user_id = $1 AND a.assistant_id = $2 ORDER BY v.version DESC
"""

ADD: Final = """
WITH moved AS (
    UPDATE assistants a SET version = a.newest + 1, newest = a.newest + 1, updated_at = now()
    WHERE a.user_id = $1 AND a.assistant_id = $2 AND a.newest < $9 RETURNING a.newest)
INSERT INTO assistant_versions
    (user_id, assistant_id, version, graph_id, name, description, config, context, metadata, created_at)
SELECT $1, $2, moved.newest, $3, $4, $5, $6, $7, $8, now() FROM moved RETURNING version
"""

SET_LATEST: Final = """
UPDATE assistants a SET version = $3, updated_at = now() WHERE a.user_id = $1 AND a.assistant_id = $2
AND EXISTS (SELECT FROM assistant_versions v WHERE v.user_id = $1 AND v.assistant_id = $2 AND v.version = $3)
RETURNING true
"""

DELETE: Final = """
WITH gone AS (DELETE FROM assistants WHERE user_id = $1 AND assistant_id = $2 RETURNING true),
versions AS (DELETE FROM assistant_versions WHERE user_id = $1 AND assistant_id = $2)
SELECT * FROM gone
"""


class PostgresAssistants(Assistants):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, user_id: str, assistant_id: str, preset: Preset) -> bool:
        if await self._pool.write(CREATE, user_id, assistant_id, *_values(preset), MAX_ASSISTANTS):
            return True
        if not await self._pool.read(GET, user_id, assistant_id):
            raise TooMany(MAX_ASSISTANTS, "assistants")
        return False

    async def get(self, user_id: str, assistant_id: str) -> Assistant:
        rows = await self._pool.read(GET, user_id, assistant_id)
        if not rows:
            raise UnknownAssistant(assistant_id)
        return _assistant(rows[0])

    async def list(self, user_id: str) -> Sequence[Assistant]:
        return [_assistant(row) for row in await self._pool.read(LIST, user_id)]

    async def add_version(self, user_id: str, assistant_id: str, preset: Preset) -> Assistant:
        added = await self._pool.write(ADD, user_id, assistant_id, *_values(preset), MAX_VERSIONS)
        assistant = await self.get(user_id, assistant_id)
        if not added:
            raise TooMany(MAX_VERSIONS, "versions")
        return assistant

    async def versions(self, user_id: str, assistant_id: str) -> Sequence[Assistant]:
        rows = await self._pool.read(VERSIONS, user_id, assistant_id)
        if not rows:
            raise UnknownAssistant(assistant_id)
        return [_assistant(row) for row in rows]

    async def set_latest(self, user_id: str, assistant_id: str, version: int) -> Assistant:
        if not await self._pool.write(SET_LATEST, user_id, assistant_id, version):
            raise UnknownAssistant(assistant_id)
        return await self.get(user_id, assistant_id)

    async def delete(self, user_id: str, assistant_id: str) -> None:
        if not await self._pool.write(DELETE, user_id, assistant_id):
            raise UnknownAssistant(assistant_id)


def _values(preset: Preset) -> tuple[str, str, str | None, bytes, bytes, bytes]:
    for field in ("graph_id", "name", "description"):
        encode_json(field, getattr(preset, field))
    return (
        preset.graph_id,
        preset.name,
        preset.description,
        encode_json("config", preset.config),
        encode_json("context", preset.context),
        encode_json("metadata", preset.metadata),
    )


def _assistant(row: Row) -> Assistant:
    preset = Preset(
        graph_id=row["graph_id"],
        name=row["name"],
        description=row["description"],
        config=decode_json(row["config"]),
        context=decode_json(row["context"]),
        metadata=decode_json(row["metadata"]),
    )
    return Assistant(row["assistant_id"], row["version"], preset, row["created_at"], row["updated_at"])
