from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from unbroken.adapters.postgres.pool import Pool
from unbroken.domain.errors import CancelKind
from unbroken.domain.ports.controls import Controls, Mark
from unbroken.domain.session import SessionKey

CANCEL: Final = "SELECT * FROM unbroken_cancel_v2($1, $2, $3, $4, $5)"

MARKED: Final = """
SELECT c.thread_id, c.seq, c.kind
FROM controls c JOIN sessions s USING (thread_id)
WHERE s.owner = $1 AND c.seq = s.applied_seq + 1 AND s.deleted_at IS NULL
"""
"""Marks are few, and go with their event's end: this reads a table that is all but empty."""


class PostgresControls(Controls):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def cancel(self, key: SessionKey, request_id: str, kind: CancelKind = "cancel") -> Mark:
        (row,) = await self._pool.write(CANCEL, key.thread_id, key.user_id, key.agent_id, request_id, kind)
        return Mark(key.thread_id, row["seq"], row["kind"])

    async def marked(self, *, replica: int) -> Sequence[Mark]:
        rows = await self._pool.read(MARKED, replica)
        return [Mark(row["thread_id"], row["seq"], row["kind"]) for row in rows]
