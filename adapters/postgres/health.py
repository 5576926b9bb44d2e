from __future__ import annotations

from typing import Final

from unbroken.adapters.postgres.migrate import fits
from unbroken.adapters.postgres.pool import Pool
from unbroken.domain.ports.store_health import StoreHealth, StoreState

LOOK: Final = """
SELECT (SELECT version_num FROM unbroken_migrations) AS revision,
       EXISTS (SELECT FROM replicas WHERE id = $1 AND expires_at > clock_timestamp()) AS alive
"""


class PostgresHealth(StoreHealth):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def look(self, *, replica: int) -> StoreState:
        (row,) = await self._pool.read(LOOK, replica)
        return StoreState(schema_fits=fits(row["revision"]), lease_held=row["alive"])
