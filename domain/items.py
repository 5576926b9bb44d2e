"""Items of agents' long-term memory: JSON objects that outlive threads, under a namespace and a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from unbroken.domain.errors import InvalidValue

Namespace = tuple[str, ...]
"""Its labels, outermost first; none is empty, or holds a dot or U+0000."""

Vector = tuple[float, ...]


MAX_TTL_S: Final = 1_000 * 365 * 86_400.0
"""Of an item's time to live, in either direction: calendars end, and the official table counts minutes in 32 bits."""


class ItemName(Struct, frozen=True):
    namespace: Namespace
    key: str


class Item(Struct, frozen=True):
    name: ItemName
    value: bytes
    """A JSON object."""
    created_at: datetime
    updated_at: datetime


class Found(Struct, frozen=True):
    item: Item
    score: float | None
    """The cosine of the angle between what was asked for and the nearest of the item's vectors; None: not asked."""


class ItemPut(Struct, frozen=True):
    name: ItemName
    value: bytes
    """A JSON object."""
    ttl_s: float | None = None
    """Seconds until it expires, if nothing refreshes it."""
    vectors: Mapping[str, Vector] = {}
    """What it is found by, by the part of the value that was embedded. Those of an earlier value are forgotten."""

    def check(self) -> None:
        """Raises InvalidValue: nobody can tell when it would expire."""
        if self.ttl_s is not None and not abs(self.ttl_s) <= MAX_TTL_S:
            raise InvalidValue("ttl", f"must be at most {MAX_TTL_S / 60:.0f} minutes, which is a thousand years")


Comparison = Literal["eq", "ne", "gt", "gte", "lt", "lte"]


class Condition(Struct, frozen=True):
    """What a member of the value must be. Order is that of numbers among numbers and of code points among texts; any
    other pair is in no order. A value without the member has none: it is neither equal nor unequal."""

    member: str
    comparison: Comparison
    value: bytes
    """JSON."""


class ItemSearch(Struct, frozen=True):
    under: Namespace
    """Items of this namespace and of those within it; () of all."""
    conditions: Sequence[Condition] = ()
    near: Vector | None = None
    """Then only items that have vectors of its length are found, the nearest first; else the latest changed first."""
    limit: int = 10
    offset: int = 0
    refresh: bool = False
    """What is found begins its time to live anew."""


class NamespaceSearch(Struct, frozen=True):
    begins: Sequence[Namespace] = ()
    """Each of them must fit the beginning; the label `*` fits any one."""
    ends: Sequence[Namespace] = ()
    depth: int | None = None
    """Namespaces are cut to so many labels."""
    limit: int = 100
    offset: int = 0
