from __future__ import annotations

from abc import ABC, abstractmethod

from msgspec import Struct


class StoreState(Struct, frozen=True):
    schema_fits: bool
    """As new as this code needs it; a newer one fits, so that old and new versions serve side by side in a deploy."""
    lease_held: bool
    """By the store's clock, this boot of this replica counts as alive."""


class StoreHealth(ABC):
    """What the store knows of this replica, as of now; nothing is changed."""

    @abstractmethod
    async def look(self, *, replica: int) -> StoreState:
        """One read. Raises StoreUnavailable."""
