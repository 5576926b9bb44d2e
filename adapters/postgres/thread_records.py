from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import decode_json, encode_json
from unbroken.domain.catalogue import MAX_METADATA, Metadata, RecordStatus, SortBy, ThreadQuery, ThreadRecord
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted
from unbroken.domain.ports.thread_records import ThreadRecords

COLUMNS: Final = """
coalesce(s.thread_id, r.thread_id) AS thread_id, s.agent_id, s.deleted_at,
coalesce(r.metadata, '{}') || CASE WHEN s.agent_id IS NULL THEN '{}'
    ELSE jsonb_build_object('graph_id', s.agent_id) END AS metadata,
least(r.created_at, s.created_at) AS created_at,
greatest(r.updated_at, s.created_at, heard.created_at, spoken.created_at) AS updated_at,
coalesce(greatest(s.created_at, heard.created_at, spoken.created_at), r.created_at) AS state_updated_at,
CASE WHEN coalesce(heard.seq, 0) > s.applied_seq THEN 'busy'
    WHEN cardinality(s.open_questions) > 0 THEN 'interrupted'
    WHEN written.stands IS NOT NULL THEN CASE WHEN written.stands THEN 'interrupted' ELSE 'idle' END
    WHEN spoken.type = 'report_failure' THEN 'error'
    ELSE 'idle' END AS status
"""

ACTIVE: Final = """
LEFT JOIN LATERAL (
    SELECT e.seq, e.created_at FROM events e WHERE e.thread_id = s.thread_id ORDER BY e.seq DESC LIMIT 1) heard ON true
LEFT JOIN LATERAL (
    SELECT f.type, f.created_at, f.event_seq FROM effects f
    WHERE f.thread_id = s.thread_id AND f.log_index = s.log_index LIMIT 1) spoken ON true
-- The last change of the state that came to something, if nothing was said since: few rows lie behind what was said.
LEFT JOIN LATERAL (
    SELECT (f.payload ->> 'stands')::boolean AS stands FROM effects f
    WHERE f.thread_id = s.thread_id AND f.event_seq >= coalesce(spoken.event_seq, 0)
        AND f.type = 'skip_event' AND f.payload ->> 'stands' IS NOT NULL
    ORDER BY f.event_seq DESC LIMIT 1) written ON true
"""

GET: Final = f"""
SELECT {COLUMNS} FROM (SELECT * FROM sessions WHERE thread_id = $2) s
FULL JOIN (SELECT * FROM thread_records WHERE thread_id = $2) r
    ON r.thread_id = s.thread_id AND r.user_id = s.user_id
{ACTIVE} WHERE coalesce(s.user_id, r.user_id) = $1
"""

"""A process of the version before binds a thread without looking for its record, which may be somebody else's."""

FOUND: Final = f"""
SELECT {COLUMNS} FROM (SELECT * FROM sessions WHERE user_id = $1) s
FULL JOIN (SELECT * FROM thread_records WHERE user_id = $1) r ON r.thread_id = s.thread_id
{ACTIVE} WHERE s.deleted_at IS NULL
"""

MATCHING: Final = f"""
FROM ({FOUND}) t WHERE ($2::text IS NULL OR t.status = $2) AND ($3::text[] IS NULL OR t.thread_id = ANY ($3))
AND EXISTS (SELECT FROM jsonb_array_elements($4::jsonb) a WHERE NOT EXISTS (
    SELECT FROM jsonb_array_elements(a.value) p WHERE NOT t.metadata @> p.value))
"""

ORDERS: Final[Mapping[str, str]] = {
    "status": "t.status",
    "created_at": "t.created_at",
    "updated_at": "t.updated_at",
    "state_updated_at": "t.state_updated_at",
}

COUNT: Final = f"SELECT count(*) {MATCHING}"
CREATE: Final = "SELECT unbroken_record_thread_v1($1, $2, $3) AS made"
DESCRIBE: Final = "SELECT unbroken_describe_thread_v1($1, $2, $3, $4)"
DISCARD: Final = "SELECT unbroken_discard_thread_v1($1, $2) AS discarded"


def search(sort_by: SortBy, *, descending: bool) -> str:
    direction = "DESC" if descending else "ASC"
    first = f"{ORDERS[sort_by]} {direction}, " if sort_by in ORDERS else ""
    return f'SELECT * {MATCHING} ORDER BY {first}t.thread_id COLLATE "C" {direction} LIMIT $5 OFFSET $6'


class PostgresThreadRecords(ThreadRecords):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, user_id: str, thread_id: str, metadata: Metadata) -> bool:
        (row,) = await self._pool.write(CREATE, thread_id, user_id, encoded_metadata(metadata))
        return bool(row["made"])

    async def get(self, user_id: str, thread_id: str) -> ThreadRecord:
        rows = await self._pool.read(GET, user_id, thread_id)
        if not rows:
            raise NotYourThread(thread_id)
        if rows[0]["deleted_at"] is not None:
            raise ThreadDeleted(thread_id)
        return _record(rows[0])

    async def search(
        self,
        user_id: str,
        query: ThreadQuery,
        *,
        limit: int,
        offset: int = 0,
        sort_by: SortBy = "updated_at",
        descending: bool = True,
    ) -> Sequence[ThreadRecord]:
        statement = search(sort_by, descending=descending)
        return [_record(row) for row in await self._pool.read(statement, user_id, *_asked(query), limit, offset)]

    async def count(self, user_id: str, query: ThreadQuery) -> int:
        (row,) = await self._pool.read(COUNT, user_id, *_asked(query))
        return int(row["count"])

    async def describe(self, user_id: str, thread_id: str, metadata: Metadata) -> None:
        await self._pool.write(DESCRIBE, thread_id, user_id, encoded_metadata(metadata), MAX_METADATA)

    async def discard(self, user_id: str, thread_id: str) -> bool:
        (row,) = await self._pool.write(DISCARD, thread_id, user_id)
        return bool(row["discarded"])


def encoded_metadata(metadata: Metadata) -> bytes:
    encoded = encode_json("metadata", metadata)
    if len(encoded) > MAX_METADATA:
        raise InvalidValue("metadata", f"are {len(encoded)} bytes long; the limit is {MAX_METADATA}")
    return encoded


def _asked(query: ThreadQuery) -> tuple[str | None, list[str] | None, bytes]:
    status = None if query.status is None else query.status.value
    return status, None if query.ids is None else list(query.ids), encode_json("metadata", query.where)


def _record(row: Row) -> ThreadRecord:
    return ThreadRecord(
        thread_id=row["thread_id"],
        agent_id=row["agent_id"],
        metadata=decode_json(row["metadata"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        state_updated_at=row["state_updated_at"],
        status=RecordStatus(row["status"]),
    )
