"""The long-term store that nodes find as `runtime.store` and `get_store()`, over the port `Items`.

What may be asked, and what comes back, is LangGraph's; an item that has expired is never given, swept or not. Of a
batch, what reads is answered first, and what is put is written after that, all of it or nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import msgspec
from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    BaseStore,
    GetOp,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
    validate_op_namespace,
)
from langgraph.store.base import Item as StoreItem

from unbroken.adapters.langgraph.importing import one_line, variable
from unbroken.adapters.langgraph.json_values import json_of
from unbroken.adapters.langgraph.project import IndexEntry, Project
from unbroken.domain.errors import InvalidValue
from unbroken.domain.items import (
    Comparison,
    Condition,
    Found,
    Item,
    ItemName,
    ItemPut,
    ItemSearch,
    NamespaceSearch,
    Vector,
)
from unbroken.domain.ports.items import Items
from unbroken.domain.utf16 import well_formed

COMPARISONS: Final[dict[str, Comparison]] = {
    "$eq": "eq",
    "$ne": "ne",
    "$gt": "gt",
    "$gte": "gte",
    "$lt": "lt",
    "$lte": "lte",
}
MINUTE_S: Final = 60.0
WHOLE: Final = "$"
"""Instead of a path: all of the value."""


class Index:
    """How items are found by meaning."""

    def __init__(self, embeddings: Embeddings, dims: int, fields: Sequence[str]) -> None:
        self._embeddings = embeddings
        self._dims = dims
        self._fields = tuple(fields)

    def texts(self, put: PutOp) -> dict[str, str]:
        """By the part of the value they are from."""
        if put.index is False or put.value is None:
            return {}
        parts: dict[str, str] = {}
        for path in self._fields if put.index is None else put.index:
            found = get_text_at_path(put.value, path if path == WHOLE else tokenize_path(path))
            parts |= {f"{path}.{number}" if len(found) > 1 else path: text for number, text in enumerate(found)}
        return parts

    async def vectors(self, texts: Sequence[str]) -> list[Vector]:
        """Raises ValueError: the model gives vectors of another length than the project says."""
        return [self._checked(one) for one in await self._embeddings.aembed_documents([*texts])] if texts else []

    async def vector(self, query: str) -> Vector:
        return self._checked(await self._embeddings.aembed_query(query))

    def _checked(self, vector: Sequence[float]) -> Vector:
        if len(vector) != self._dims:
            raise ValueError(f"the embedding has {len(vector)} numbers, and store.index.dims is {self._dims}")
        return tuple(map(float, vector))


class LongTermStore(BaseStore):
    """Used on the loop that it was made on; synchronous nodes, which run on other threads, may call it as well."""

    supports_ttl = True

    def __init__(self, items: Items, index: Index | None = None, ttl: TTLConfig | None = None) -> None:
        self._items = items
        self._index = index
        self.ttl_config = ttl
        self._loop = asyncio.get_running_loop()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Raises RuntimeError on the loop's own thread, which would wait for itself."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            raise RuntimeError(
                "the store is called synchronously by an async node: await aget, aput or asearch instead"
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        asked = [*ops]
        for op in asked:
            validate_op_namespace(op)
        results: list[Result] = [None] * len(asked)
        gets = [(place, op) for place, op in enumerate(asked) if isinstance(op, GetOp)]
        for (place, _), item in zip(gets, await self._get([op for _, op in gets]), strict=True):
            results[place] = item
        for place, op in enumerate(asked):
            if isinstance(op, SearchOp):
                results[place] = await self._search(op)
            elif isinstance(op, ListNamespacesOp):
                results[place] = cast("list[tuple[str, ...]]", [*await self._items.namespaces(_listing(op))])
        await self._put([op for op in asked if isinstance(op, PutOp)])
        return results

    async def _get(self, ops: Sequence[GetOp]) -> Sequence[StoreItem | None]:
        if not ops:
            return []
        names = [ItemName(tuple(op.namespace), op.key) for op in ops]
        refresh = {name for name, op in zip(names, ops, strict=True) if op.refresh_ttl}
        return [None if item is None else _item(item) for item in await self._items.read(names, refresh=refresh)]

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        near = await self._index.vector(op.query) if op.query and self._index is not None else None
        search = ItemSearch(
            tuple(op.namespace_prefix), _conditions(op), near, op.limit, op.offset, refresh=bool(op.refresh_ttl)
        )
        return [_found(one) for one in await self._items.search(search)]

    async def _put(self, ops: Sequence[PutOp]) -> None:
        last = {ItemName(tuple(op.namespace), op.key): op for op in ops}
        if not last:
            return
        texts = {} if self._index is None else {name: self._index.texts(op) for name, op in last.items()}
        flat = [text for parts in texts.values() for text in parts.values()]
        vectors = iter(await self._index.vectors(flat) if self._index is not None else ())
        puts = [
            ItemPut(
                name,
                json_of(op.value),
                None if op.ttl is None else op.ttl * MINUTE_S,
                {part: next(vectors) for part in texts.get(name, ())},
            )
            for name, op in last.items()
            if op.value is not None
        ]
        await self._items.write(puts, remove=[name for name, op in last.items() if op.value is None])


def index_of(project: Project) -> Index | None:
    """As the project's `store` says. Raises InvalidValue, in one line, for embeddings that cannot be had."""
    entry = project.entries.store.index if project.entries.store is not None else None
    return None if entry is None else Index(_embeddings(project, entry), entry.dims, entry.fields)


def ttl_of(project: Project) -> TTLConfig | None:
    entry = project.entries.store.ttl if project.entries.store is not None else None
    return None if entry is None else TTLConfig(refresh_on_read=entry.refresh_on_read, default_ttl=entry.default_ttl)


def _embeddings(project: Project, entry: IndexEntry) -> Embeddings:
    label = project.key("store.index.embed")
    where, colon, _ = entry.embed.rpartition(":")
    if colon and (where.endswith(".py") or "/" in where):
        found = variable(label, entry.embed, project.root)
        if not callable(found) and not isinstance(found, Embeddings):
            raise InvalidValue(label, f"{entry.embed} is a {type(found).__name__}, not a function that embeds texts")
        return ensure_embeddings(found)
    try:
        return ensure_embeddings(entry.embed)
    except Exception as error:
        raise InvalidValue(label, f"{entry.embed} cannot be used: {one_line(error, project.root)}") from error


def _conditions(op: SearchOp) -> list[Condition]:
    """Raises ValueError for an operator that there is not. Members are sought as `json_of` has stored them."""
    conditions = []
    for member, wanted in (op.filter or {}).items():
        signs = (
            wanted if isinstance(wanted, dict) and any(str(key).startswith("$") for key in wanted) else {"$eq": wanted}
        )
        for sign, value in signs.items():
            if sign not in COMPARISONS:
                raise ValueError(f"unsupported operator: {sign}; there are {', '.join(COMPARISONS)}")
            conditions.append(Condition(well_formed(member), COMPARISONS[sign], json_of(value)))
    return conditions


def _listing(op: ListNamespacesOp) -> NamespaceSearch:
    by_end: dict[str, list[tuple[str, ...]]] = {"prefix": [], "suffix": []}
    for condition in op.match_conditions or ():
        by_end[condition.match_type].append(tuple(condition.path))
    return NamespaceSearch(by_end["prefix"], by_end["suffix"], op.max_depth, op.limit, op.offset)


def _parts(item: Item) -> dict[str, Any]:
    return {
        "namespace": item.name.namespace,
        "key": item.name.key,
        "value": msgspec.json.decode(item.value),
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }


def _item(item: Item) -> StoreItem:
    return StoreItem(**_parts(item))


def _found(found: Found) -> SearchItem:
    return SearchItem(**_parts(found.item), score=found.score)
