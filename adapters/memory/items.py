from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from math import sqrt
from operator import ge, gt, le, lt, mul
from typing import Any, Final

from msgspec.structs import replace

from unbroken.adapters.memory.encoding import decode_json, encode_json
from unbroken.adapters.memory.tables import StoredItem
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.items import (
    Condition,
    Found,
    Item,
    ItemName,
    ItemPut,
    ItemSearch,
    Namespace,
    NamespaceSearch,
    Vector,
)
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.items import Items

ORDERS: Final = {"gt": gt, "gte": ge, "lt": lt, "lte": le}


class MemoryItems(Items):
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self, names: Sequence[ItemName], *, refresh: Collection[ItemName] = ()) -> Sequence[Item | None]:
        _check(names)

        def step(transaction: Transaction) -> Sequence[Item | None]:
            found = [self._there(transaction, name) for name in names]
            self._refresh(transaction, [one for one in found if one is not None and one.item.name in refresh])
            return [None if one is None else one.item for one in found]

        return await self._database.run("read_items", step)

    async def write(self, puts: Sequence[ItemPut], *, remove: Collection[ItemName] = ()) -> None:
        _check([*(put.name for put in puts), *remove])
        for put in puts:
            put.check()

        def step(transaction: Transaction) -> None:
            now = self._clock.now()
            for name in remove:
                transaction.items.remove(name)
            for put in puts:
                before = self._there(transaction, put.name)
                created_at = now if before is None else before.item.created_at
                expires_at = None if put.ttl_s is None else now + timedelta(seconds=put.ttl_s)
                vectors = tuple(_unit(vector) for vector in put.vectors.values())
                item = Item(put.name, bytes(put.value), created_at, now)
                transaction.items.put(put.name, StoredItem(item, expires_at, put.ttl_s, vectors))

        await self._database.run("write_items", step)

    async def search(self, search: ItemSearch) -> Sequence[Found]:
        near = None if search.near is None else _unit(search.near)

        def step(transaction: Transaction) -> Sequence[Found]:
            fitting = [
                (stored, _nearness(near, stored))
                for stored in self._all(transaction)
                if stored.item.name.namespace[: len(search.under)] == search.under
                and all(_holds(condition, decode_json(stored.item.value)) for condition in search.conditions)
            ]
            if near is not None:
                fitting = [(stored, score) for stored, score in fitting if score is not None]
            fitting.sort(key=lambda pair: _text(pair[0].item.name))
            if near is None:
                fitting.sort(key=lambda pair: pair[0].item.updated_at, reverse=True)
            else:
                fitting.sort(key=lambda pair: pair[1] or 0.0, reverse=True)
            page = fitting[search.offset : search.offset + search.limit]
            if search.refresh:
                self._refresh(transaction, [stored for stored, _ in page])
            return [Found(stored.item, score) for stored, score in page]

        return await self._database.run("search_items", step)

    async def namespaces(self, search: NamespaceSearch) -> Sequence[Namespace]:
        def step(transaction: Transaction) -> Sequence[Namespace]:
            found = {
                stored.item.name.namespace[: search.depth]
                for stored in self._all(transaction)
                if all(_fits(stored.item.name.namespace[: len(path)], path) for path in search.begins)
                and all(_fits(stored.item.name.namespace[-len(path) :], path) for path in search.ends if path)
            }
            return sorted(found, key=".".join)[search.offset : search.offset + search.limit]

        return await self._database.run("list_namespaces", step)

    async def sweep(self, limit: int) -> int:
        def step(transaction: Transaction) -> int:
            now = self._clock.now()
            expired = [name for name, stored in transaction.items.items() if _expired(stored, now)][:limit]
            for name in expired:
                transaction.items.remove(name)
            return len(expired)

        return await self._database.run("sweep_items", step)

    def _there(self, transaction: Transaction, name: ItemName) -> StoredItem | None:
        stored = transaction.items.get(name)
        return None if stored is None or _expired(stored, self._clock.now()) else stored

    def _all(self, transaction: Transaction) -> Iterator[StoredItem]:
        now = self._clock.now()
        return (stored for _, stored in transaction.items.items() if not _expired(stored, now))

    def _refresh(self, transaction: Transaction, stored: Collection[StoredItem]) -> None:
        now = self._clock.now()
        for one in stored:
            if one.ttl_s is not None:
                expires_at = now + timedelta(seconds=one.ttl_s)
                transaction.items.put(one.item.name, replace(one, expires_at=expires_at))


def _check(names: Sequence[ItemName]) -> None:
    for name in names:
        encode_json("key", [*name.namespace, name.key])


def _expired(stored: StoredItem, now: datetime) -> bool:
    return stored.expires_at is not None and stored.expires_at <= now


def _text(name: ItemName) -> tuple[str, str]:
    return ".".join(name.namespace), name.key


def _fits(labels: Namespace, path: Namespace) -> bool:
    return len(labels) == len(path) and all(wanted in ("*", label) for label, wanted in zip(labels, path, strict=True))


def _unit(vector: Vector) -> Vector:
    length = sqrt(sum(map(mul, vector, vector)))
    return vector if not length else tuple(part / length for part in vector)


def _nearness(near: Vector | None, stored: StoredItem) -> float | None:
    if near is None:
        return None
    return max((sum(map(mul, near, one)) for one in stored.vectors if len(one) == len(near)), default=None)


def _holds(condition: Condition, value: dict[str, Any]) -> bool:
    if condition.member not in value:
        return False
    found, wanted = value[condition.member], decode_json(condition.value)
    if condition.comparison in ORDERS:
        comparable = _kind(found) == _kind(wanted) and _kind(found) in ("number", "text")
        return comparable and bool(ORDERS[condition.comparison](found, wanted))
    return _same(found, wanted) == (condition.comparison == "eq")


def _same(one: Any, other: Any) -> bool:
    """As JSON: `true` is not 1, but 1.0 is."""
    if _kind(one) != _kind(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__
