"""`/store`: the long-term memory that the agents' nodes have, by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from langgraph.store.base import BaseStore, Item
from litestar import Response, delete, get, post, put
from litestar.params import FromQuery
from msgspec import UNSET, Struct, UnsetType

from unbroken.entrypoints.langgraph_api.access import Access, access_of
from unbroken.entrypoints.langgraph_api.answers import body_of, invalid
from unbroken.entrypoints.langgraph_api.permissions import SHARED, anything
from unbroken.entrypoints.web.rest import Call, Problem

MAX_PAGE: Final = 1_000
MAX_OFFSET: Final = 1_000_000
MAX_DEPTH: Final = 1_000_000


class NewItem(Struct, frozen=True):
    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    index: bool | list[str] | None = None
    ttl: float | UnsetType | None = UNSET


class ItemName(Struct, frozen=True):
    namespace: tuple[str, ...]
    key: str


class ItemSearch(Struct, frozen=True):
    namespace_prefix: tuple[str, ...] = ()
    filter: dict[str, Any] | None = None
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh_ttl: bool | None = None


class NamespaceSearch(Struct, frozen=True):
    prefix: tuple[str, ...] | None = None
    suffix: tuple[str, ...] | None = None
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


@put("/store/items", status_code=HTTPStatus.NO_CONTENT)
async def put_item(request: Call) -> None:
    access, store = await _store(request)
    asked = await body_of(request, NewItem)
    if asked.index is True:
        raise invalid("index: is false, or a list of paths")
    value: dict[str, Any] = {"namespace": asked.namespace, "key": asked.key, "value": asked.value, "index": asked.index}
    namespace = await _namespace(access, "put", value)
    options: dict[str, Any] = {} if isinstance(asked.ttl, UnsetType) else {"ttl": asked.ttl}
    index: Any = asked.index
    with _refusing():
        await store.aput(namespace, value["key"], value["value"], index, **options)


@get("/store/items")
async def get_item(
    request: Call, key: FromQuery[str], namespace: FromQuery[str] = "", refresh_ttl: FromQuery[bool | None] = None
) -> Response[Any]:
    """An item that is not there is null."""
    access, store = await _store(request)
    parts = tuple(part for part in namespace.split(".") if part)
    allowed = await _namespace(access, "get", {"namespace": parts, "key": key})
    with _refusing():
        found = await store.aget(allowed, key, refresh_ttl=refresh_ttl)
    return Response(None if found is None else _view(found), media_type="application/json")


@delete("/store/items")
async def delete_item(request: Call) -> None:
    access, store = await _store(request)
    asked = await body_of(request, ItemName)
    namespace = await _namespace(access, "delete", {"namespace": asked.namespace, "key": asked.key})
    with _refusing():
        await store.adelete(namespace, asked.key)


@post("/store/items/search", status_code=HTTPStatus.OK)
async def search_items(request: Call) -> dict[str, Any]:
    access, store = await _store(request)
    asked = await body_of(request, ItemSearch)
    _check_page(asked.limit, asked.offset)
    value: dict[str, Any] = {"namespace": asked.namespace_prefix, "filter": asked.filter, "query": asked.query}
    value |= {"limit": asked.limit, "offset": asked.offset}
    prefix = await _namespace(access, "search", value)
    with _refusing():
        found = await store.asearch(
            prefix,
            query=asked.query,
            filter=value["filter"],
            limit=asked.limit,
            offset=asked.offset,
            refresh_ttl=asked.refresh_ttl,
        )
    return {"items": [{**_view(item), "score": item.score} for item in found]}


@post("/store/namespaces", status_code=HTTPStatus.OK)
async def list_namespaces(request: Call) -> dict[str, Any]:
    access, store = await _store(request)
    asked = await body_of(request, NamespaceSearch)
    _check_page(asked.limit, asked.offset)
    if asked.max_depth is not None and not 1 <= asked.max_depth <= MAX_DEPTH:
        raise invalid(f"max_depth: must be from 1 to {MAX_DEPTH}")
    value: dict[str, Any] = {"namespace": asked.prefix or (), "suffix": asked.suffix, "max_depth": asked.max_depth}
    value |= {"limit": asked.limit, "offset": asked.offset}
    prefix = await _namespace(access, "list_namespaces", value)
    with _refusing():
        found = await store.alist_namespaces(
            prefix=prefix or None,
            suffix=asked.suffix,
            max_depth=asked.max_depth,
            limit=asked.limit,
            offset=asked.offset,
        )
    return {"namespaces": [list(namespace) for namespace in found]}


async def _store(request: Call) -> tuple[Access, BaseStore]:
    """Raises Problem: there is none, or nobody says what of it is whose."""
    access = await access_of(request)
    if access.permissions is anything and access.service.settings.auth != "none":
        raise Problem(HTTPStatus.FORBIDDEN, "shared", SHARED)
    if access.service.memory is None:
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", "no long-term memory is served here")
    return access, access.service.memory


@contextmanager
def _refusing() -> Iterator[None]:
    """What LangGraph's store does not take (a namespace that nothing can have, an operator that there is not) is the
    caller's fault, in its own words."""
    try:
        yield
    except ValueError as error:
        raise invalid(str(error)) from None


async def _namespace(access: Access, action: str, value: dict[str, Any]) -> tuple[str, ...]:
    """Where the project's rules let the user read or write: they may change it. Raises Problem."""
    await access.allowed("store", action, value)
    namespace: Sequence[str] = value["namespace"]
    return tuple(str(part) for part in namespace)


def _check_page(limit: int, offset: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise invalid(f"limit: must be from 1 to {MAX_PAGE}")
    if not 0 <= offset <= MAX_OFFSET:
        raise invalid(f"offset: must be from 0 to {MAX_OFFSET}")


def _view(item: Item) -> dict[str, Any]:
    return {
        "namespace": list(item.namespace),
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }
