from __future__ import annotations

from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.store_health import StoreHealth, StoreState


class MemoryHealth(StoreHealth):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def look(self, *, replica: int) -> StoreState:
        def step(transaction: Transaction) -> StoreState:
            lease = transaction.leases.get(replica)
            alive = lease is not None and lease.expires > self._clock.monotonic()
            return StoreState(schema_fits=True, lease_held=alive)

        return await self._database.run("look", step)
