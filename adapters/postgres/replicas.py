from __future__ import annotations

from typing import Final

from unbroken.adapters.postgres.pool import Pool
from unbroken.domain.ports.replicas import Replica, Replicas

JOIN: Final = """
WITH long_gone AS (DELETE FROM replicas WHERE expires_at < now() - interval '1 day' AND name <> $1)
INSERT INTO replicas AS r (name, boot, id, expires_at)
VALUES ($1, 1, nextval('replica_ids'), now() + make_interval(secs => $2))
ON CONFLICT (name) DO UPDATE SET
    boot = r.boot + 1, id = nextval('replica_ids'), expires_at = now() + make_interval(secs => $2)
RETURNING id, boot
"""
"""One row a name: the new boot takes the place of the former one, whose id nobody has from then on. Where each process
has a name of its own, as in a container, their rows would be without end: the long gone go. Should one of them wake
up, it finds that it has been replaced."""

RENEW: Final = """
WITH renewed AS (
    UPDATE replicas SET expires_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1 RETURNING id
)
SELECT 1 + (SELECT count(*) FROM replicas r WHERE r.id <> renewed.id AND r.expires_at > clock_timestamp()) AS alive
FROM renewed
"""
"""How many replicas are alive, this one included; no row: it is not one any more."""

LEAVE: Final = "UPDATE replicas SET id = NULL, expires_at = now() WHERE id = $1"


class PostgresReplicas(Replicas):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def join(self, name: str, *, lease_ttl_s: float) -> Replica:
        (row,) = await self._pool.write(JOIN, name, lease_ttl_s)
        return Replica(row["id"], name, row["boot"])

    async def renew(self, replica: int, *, lease_ttl_s: float) -> bool:
        return bool(await self._pool.write(RENEW, replica, lease_ttl_s))

    async def leave(self, replica: int) -> None:
        await self._pool.write(LEAVE, replica)
