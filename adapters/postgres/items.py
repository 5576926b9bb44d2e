"""Agents' long-term memory in the tables of LangGraph's own store, so that either reads what the other has written.

Vectors stand in a table of ours: pgvector, which the official one needs, is not in every PostgreSQL. They have
length 1, and each search looks at all of those that its namespace and conditions leave: exact, not approximate. Where
somebody has made the extension, it does the arithmetic, and little else of a search's time is left.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import sqrt
from operator import mul
from typing import Any, Final

from asyncpg import DeadlockDetectedError

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import encode_json
from unbroken.domain.errors import StoreUnavailable
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
from unbroken.domain.ports.items import Items

COLUMNS: Final = "s.prefix, s.key, s.value, s.created_at, s.updated_at"
ALIVE: Final = "(s.expires_at IS NULL OR s.expires_at > now())"
ANEW: Final = "now() + make_interval(mins => s.ttl_minutes)"

READ: Final = (
    f"SELECT {COLUMNS} FROM unnest($1::text[], $2::text[]) w (prefix, key) JOIN store s USING (prefix, key) "
    f"WHERE {ALIVE}"
)

REFRESH: Final = f"""
UPDATE store s SET expires_at = {ANEW} FROM unnest($1::text[], $2::text[]) w (prefix, key)
WHERE s.prefix = w.prefix AND s.key = w.key AND s.ttl_minutes IS NOT NULL AND {ALIVE}
"""

# One statement. Rows are locked in the order of their names, and vectors only below the lock of their item: each step
# reads what the one before it returns, or PostgreSQL would run them in any order. What has expired begins anew.
WRITE: Final = """
WITH going AS (
    SELECT s.prefix, s.key FROM store s JOIN unnest($6::text[], $7::text[]) w (prefix, key) USING (prefix, key)
    ORDER BY s.prefix, s.key FOR UPDATE OF s
), removed AS (
    DELETE FROM store s USING going g WHERE s.prefix = g.prefix AND s.key = g.key RETURNING s.key
), put AS (
    INSERT INTO store AS s (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes)
    SELECT w.prefix, w.key, w.value::jsonb, now(), now(), now() + make_interval(secs => w.ttl_s),
        ceil(w.ttl_s / 60)::int
    FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[]) w (prefix, key, value, ttl_s)
    WHERE (SELECT count(*) FROM removed) >= 0
    ORDER BY w.prefix, w.key
    ON CONFLICT (prefix, key) DO UPDATE SET
        created_at = CASE WHEN s.expires_at <= now() THEN EXCLUDED.created_at ELSE s.created_at END,
        value = EXCLUDED.value, updated_at = EXCLUDED.updated_at,
        expires_at = EXCLUDED.expires_at, ttl_minutes = EXCLUDED.ttl_minutes
    RETURNING s.prefix, s.key
), vectors AS (
    SELECT v.prefix, v.key, v.part, v.vector::float4[] AS vector
    FROM jsonb_to_recordset($5::jsonb) v (prefix text, key text, part text, vector text)
), forgotten AS (
    DELETE FROM store_embeddings e USING put p WHERE e.prefix = p.prefix AND e.key = p.key AND NOT EXISTS (
        SELECT FROM vectors v WHERE v.prefix = e.prefix AND v.key = e.key AND v.part = e.part)
)
INSERT INTO store_embeddings (prefix, key, part, vector)
SELECT v.prefix, v.key, v.part, v.vector FROM vectors v, (SELECT count(*) FROM put) after
ON CONFLICT (prefix, key, part) DO UPDATE SET vector = EXCLUDED.vector
"""

SWEEP: Final = """
WITH gone AS (
    SELECT prefix, key FROM store WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM store s USING gone g WHERE s.prefix = g.prefix AND s.key = g.key RETURNING 1
"""

MOST_TRIES: Final = 4
"""A write that removes some items and puts others has no order that fits everybody's."""

HAS_PGVECTOR: Final = "SELECT to_regtype('vector') IS NOT NULL AS has"
COSINE: Final = "(SELECT sum(a::float8 * b) FROM unnest(e.vector, {near}) t (a, b))"
COSINE_BY_PGVECTOR: Final = "-(e.vector::vector <#> {near}::vector)"
"""Of vectors of length 1."""

SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class PostgresItems(Items):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._cosine: str | None = None
        """None: not asked yet."""

    async def read(self, names: Sequence[ItemName], *, refresh: Collection[ItemName] = ()) -> Sequence[Item | None]:
        _check(names)
        if refresh:
            await self._pool.write(REFRESH, *_columns(refresh))
        rows = await self._pool.read(READ, *_columns(names))
        found = {item.name: item for item in map(_item, rows)}
        return [found.get(name) for name in names]

    async def write(self, puts: Sequence[ItemPut], *, remove: Collection[ItemName] = ()) -> None:
        _check([*(put.name for put in puts), *remove])
        for put in puts:
            put.check()
        vectors = [
            {"prefix": _prefix(put.name.namespace), "key": put.name.key, "part": part, "vector": _array(vector)}
            for put in puts
            for part, vector in put.vectors.items()
        ]
        values = [put.value.decode() for put in puts]
        # To the microsecond, which is what a timestamp has: PostgreSQL refuses to divide what is hardly anything.
        ttls = [None if put.ttl_s is None else round(put.ttl_s, 6) for put in puts]
        names = _columns([put.name for put in puts])
        sent = (*names, values, ttls, encode_json("vectors", vectors), *_columns(remove))
        most = MOST_TRIES if puts and remove else 1
        for tries in range(most):
            try:
                await self._pool.write(WRITE, *sent)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, DeadlockDetectedError) or tries == most - 1:
                    raise
            else:
                return

    async def search(self, search: ItemSearch) -> Sequence[Found]:
        if search.near is not None and self._cosine is None:
            (row,) = await self._pool.read(HAS_PGVECTOR)
            self._cosine = COSINE_BY_PGVECTOR if row["has"] else COSINE
        statement, values = _search(search, self._cosine or COSINE)
        rows = await self._pool.read(statement, *values)
        found = [Found(_item(row), row["score"]) for row in rows]
        if search.refresh and found:
            await self._pool.write(REFRESH, *_columns([one.item.name for one in found]))
        return found

    async def namespaces(self, search: NamespaceSearch) -> Sequence[Namespace]:
        statement, values = _listing(search)
        rows = await self._pool.read(statement, *values)
        return [tuple(row["labels"]) for row in rows]

    async def sweep(self, limit: int) -> int:
        return len(await self._pool.write(SWEEP, limit))


class _Values(list[Any]):
    """A statement's, in the order of their numbers."""

    def bind(self, value: Any, type_: str) -> str:
        self.append(value)
        return f"${len(self)}::{type_}"


def _search(search: ItemSearch, cosine: str) -> tuple[str, Sequence[Any]]:
    values = _Values()
    where = [ALIVE, *(_condition(condition, values) for condition in search.conditions)]
    if search.under:
        prefix = values.bind(_prefix(search.under), "text")
        # What begins with `prefix.`, in a form that an index of bytes answers for any value: `/` follows on the dot.
        within = f"s.prefix ~>=~ ({prefix} || '.') AND s.prefix ~<~ ({prefix} || '/')"
        where.append(f"(s.prefix = {prefix} OR {within})")
    source, score, order = "store s", "NULL::float8", "s.updated_at DESC"
    if search.near is not None:
        near = values.bind(_unit(search.near), "float4[]")
        source += f""" JOIN LATERAL (
            SELECT max({cosine.format(near=near)}) AS score
            FROM store_embeddings e
            WHERE e.prefix = s.prefix AND e.key = s.key AND cardinality(e.vector) = cardinality({near})
        ) n ON n.score IS NOT NULL"""
        score, order = "n.score", "n.score DESC"
    statement = f"""
        SELECT {COLUMNS}, {score} AS score FROM {source} WHERE {" AND ".join(where)}
        ORDER BY {order}, s.prefix COLLATE "C", s.key COLLATE "C"
        LIMIT {values.bind(search.limit, "bigint")} OFFSET {values.bind(search.offset, "bigint")}"""
    return statement, values


def _condition(condition: Condition, values: _Values) -> str:
    member = f"(s.value -> {values.bind(condition.member, 'text')})"
    wanted = values.bind(condition.value, "jsonb")
    if condition.comparison in ("eq", "ne"):
        return f"{member} {'=' if condition.comparison == 'eq' else '<>'} {wanted}"
    sign = SIGNS[condition.comparison]
    found_text, wanted_text = f"({member} #>> '{{}}')", f"({wanted} #>> '{{}}')"
    return f"""CASE
        WHEN jsonb_typeof({member}) = 'number' AND jsonb_typeof({wanted}) = 'number'
            THEN {found_text}::numeric {sign} {wanted_text}::numeric
        WHEN jsonb_typeof({member}) = 'string' AND jsonb_typeof({wanted}) = 'string'
            THEN {found_text} COLLATE "C" {sign} {wanted_text}
        ELSE false END"""


def _listing(search: NamespaceSearch) -> tuple[str, Sequence[Any]]:
    values = _Values()
    where = [ALIVE]
    for path in search.begins:
        where.append(f"cardinality(l.labels) >= {len(path)}")
        where += [f"l.labels[{n}] = {values.bind(label, 'text')}" for n, label in enumerate(path, 1) if label != "*"]
    for path in search.ends:
        where.append(f"cardinality(l.labels) >= {len(path)}")
        where += [
            f"l.labels[cardinality(l.labels) - {len(path) - n}] = {values.bind(label, 'text')}"
            for n, label in enumerate(path, 1)
            if label != "*"
        ]
    cut = "l.labels" if search.depth is None else f"l.labels[:{values.bind(search.depth, 'int')}]"
    statement = f"""
        SELECT labels FROM (
            SELECT DISTINCT {cut} AS labels FROM store s
            CROSS JOIN LATERAL (SELECT string_to_array(s.prefix, '.') AS labels) l WHERE {" AND ".join(where)}
        ) found ORDER BY array_to_string(labels, '.') COLLATE "C"
        LIMIT {values.bind(search.limit, "bigint")} OFFSET {values.bind(search.offset, "bigint")}"""
    return statement, values


def _item(row: Row) -> Item:
    name = ItemName(tuple(row["prefix"].split(".")), row["key"])
    return Item(name, row["value"], row["created_at"], row["updated_at"])


def _check(names: Sequence[ItemName]) -> None:
    for name in names:
        encode_json("key", [*name.namespace, name.key])


def _prefix(namespace: Namespace) -> str:
    return ".".join(namespace)


def _columns(names: Collection[ItemName]) -> tuple[list[str], list[str]]:
    return [_prefix(name.namespace) for name in names], [name.key for name in names]


def _unit(vector: Vector) -> Vector:
    length = sqrt(sum(map(mul, vector, vector)))
    return vector if not length else tuple(part / length for part in vector)


def _array(vector: Vector) -> str:
    """A literal of PostgreSQL's, which reads it far faster than an array within JSON."""
    return "{" + ",".join(map(repr, _unit(vector))) + "}"
