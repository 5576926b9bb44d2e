from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from unbroken.domain.items import Found, Item, ItemName, ItemPut, ItemSearch, Namespace, NamespaceSearch


class Items(ABC):
    """Agents' long-term memory, shared by every agent and thread. Each call is one transaction of its own, beside those
    of turns: what a node has written stays, whatever becomes of its turn. What has expired is never given."""

    @abstractmethod
    async def read(self, names: Sequence[ItemName], *, refresh: Collection[ItemName] = ()) -> Sequence[Item | None]:
        """In the order of `names`; None: there is no such item. `refresh`: those begin their time to live anew. Raises
        InvalidValue for a name that cannot be stored, StoreUnavailable."""

    @abstractmethod
    async def write(self, puts: Sequence[ItemPut], *, remove: Collection[ItemName] = ()) -> None:
        """All or nothing; no name twice. An item that is there keeps its `created_at`. Raises InvalidValue for a name
        that cannot be stored, to be removed as well, or a time to live beyond `MAX_TTL_S`; StoreUnavailable,
        CommitUnknown: writing the same again does no harm."""

    @abstractmethod
    async def search(self, search: ItemSearch) -> Sequence[Found]:
        """Ties are in the order of namespace and key. Raises StoreUnavailable."""

    @abstractmethod
    async def namespaces(self, search: NamespaceSearch) -> Sequence[Namespace]:
        """Those that hold items, each once, in the order of their text. Raises StoreUnavailable."""

    @abstractmethod
    async def sweep(self, limit: int) -> int:
        """Remove up to `limit` expired items; returns how many. Raises StoreUnavailable, CommitUnknown."""
