from __future__ import annotations

from abc import ABC, abstractmethod

from msgspec import Struct


class Replica(Struct, frozen=True):
    id: int
    """Names one boot of one replica; what `sessions.owner` holds."""
    name: str
    boot: int


class Replicas(ABC):
    """Who is alive: leases on the store's clock. Liveness only; safety is the fence's (I5)."""

    @abstractmethod
    async def join(self, name: str, *, lease_ttl_s: float) -> Replica:
        """Begin a boot of `name`. Older boots of the same name are dead from this moment, whatever their lease."""

    @abstractmethod
    async def renew(self, replica: int, *, lease_ttl_s: float) -> bool:
        """Extend the lease. False: a later boot has replaced this one, or it has left; it must stop."""

    @abstractmethod
    async def leave(self, replica: int) -> None:
        """Give the lease back at once: its sessions are strays for anyone."""
