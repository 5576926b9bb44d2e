from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from unbroken.adapters.memory.tables import Lease
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.replicas import Replica, Replicas

LONG_GONE_S: Final = 86_400.0


class MemoryReplicas(Replicas):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def join(self, name: str, *, lease_ttl_s: float) -> Replica:
        def step(transaction: Transaction) -> Replica:
            for id_, lease in transaction.leases.items():
                if lease.name == name or lease.expires < self._clock.monotonic() - LONG_GONE_S:
                    transaction.leases.remove(id_)
            replica = Replica(next(self._database.replica_ids), name, (transaction.boots.get(name) or 0) + 1)
            transaction.boots.put(name, replica.boot)
            expires = self._clock.monotonic() + lease_ttl_s
            transaction.leases.put(replica.id, Lease(name, replica.boot, expires))
            return replica

        return await self._database.run("join", step)

    async def renew(self, replica: int, *, lease_ttl_s: float) -> bool:
        def step(transaction: Transaction) -> bool:
            lease = transaction.leases.get(replica)
            if lease is None:
                return False
            transaction.leases.put(replica, replace(lease, expires=self._clock.monotonic() + lease_ttl_s))
            return True

        return await self._database.run("renew", step)

    async def leave(self, replica: int) -> None:
        await self._database.run("leave", lambda transaction: transaction.leases.remove(replica))
