"""`/threads` as LangGraph's clients use it. What is somebody else's is answered like what does not exist: 404."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath
from msgspec import Struct

from unbroken.domain.catalogue import ANY, Metadata, RecordStatus, SortBy, ThreadQuery, ThreadRecord, both, matches
from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.langgraph_api.access import Access, access_of
from unbroken.entrypoints.langgraph_api.answers import body_of, invalid
from unbroken.entrypoints.langgraph_api.graph_ids import by_graph
from unbroken.entrypoints.langgraph_api.permissions import where_of
from unbroken.entrypoints.langgraph_api.thread_copies import copied
from unbroken.entrypoints.langgraph_api.thread_views import FIELDS, thread_view
from unbroken.entrypoints.web.guard import Guard
from unbroken.entrypoints.web.query import THREAD_ID
from unbroken.entrypoints.web.rest import Call, Problem

MAX_PAGE: Final = 1_000
MAX_OFFSET: Final = 1_000_000
MAX_IDS: Final = 1_000
MOST_BYTES: Final = 32 << 20
"""Of the threads of one answer as JSON, together."""
MINIMAL: Final = "return=minimal"
NO_TTL: Final = "ttl: all threads are kept alike; set checkpointer.ttl in langgraph.json, or UNBROKEN_RETENTION_DAYS"


class NewThread(Struct, frozen=True):
    thread_id: str | None = None
    metadata: Metadata | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    ttl: Any = None
    supersteps: Any = None


class ThreadChanges(Struct, frozen=True):
    metadata: Metadata | None = None
    ttl: Any = None


class ThreadSearch(Struct, frozen=True):
    metadata: Metadata | None = None
    values: Any = None
    ids: tuple[str, ...] | None = None
    status: RecordStatus | None = None
    limit: int = 10
    offset: int = 0
    sort_by: SortBy | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: tuple[str, ...] | None = None
    extract: Any = None


class Pruning(Struct, frozen=True):
    thread_ids: tuple[str, ...]
    strategy: Literal["delete", "keep_latest"] = "delete"


@post("/threads", status_code=HTTPStatus.OK)
async def create_thread(request: Call) -> dict[str, Any]:
    access = await access_of(request)
    asked = await body_of(request, NewThread)
    if asked.ttl is not None:
        raise invalid(NO_TTL)
    if asked.supersteps:
        raise invalid("supersteps: write the state of the new thread by POST /threads/{thread_id}/state")
    thread_id = asked.thread_id or new_id()
    if not THREAD_ID.fullmatch(thread_id):
        raise invalid("Invalid thread ID: must be 1 to 128 of A-Z a-z 0-9 _ - .")
    value: dict[str, Any] = {"thread_id": thread_id, "metadata": dict(asked.metadata or {})}
    value["if_exists"] = asked.if_exists or "raise"
    where = await access.allowed("threads", "create", value)
    await _room_for_one_more(request, access)
    exists = Problem(HTTPStatus.CONFLICT, "conflict", f"Thread with ID {thread_id} already exists")
    try:
        made = await access.service.thread_records.create(access.user.id, thread_id, value["metadata"])
        record = await access.service.thread_records.get(access.user.id, thread_id)
    except (NotYourThread, ThreadDeleted):
        raise exists from None
    if not made and (asked.if_exists != "do_nothing" or not matches(record.metadata, where)):
        raise exists
    return await thread_view(access, record)


@get("/threads/{thread_id:str}")
async def get_thread(request: Call, thread_id: FromPath[str]) -> dict[str, Any]:
    access = await access_of(request)
    return await thread_view(access, await access.thread(thread_id))


@patch("/threads/{thread_id:str}")
async def change_thread(request: Call, thread_id: FromPath[str]) -> Response[Any]:
    access = await access_of(request)
    asked = await body_of(request, ThreadChanges)
    if asked.ttl is not None:
        raise invalid(NO_TTL)
    value: dict[str, Any] = {"metadata": dict(asked.metadata or {})}
    record = await access.thread(thread_id, "update", value)
    if value["metadata"]:
        await access.service.thread_records.describe(access.user.id, thread_id, value["metadata"])
        record = await access.service.thread_records.get(access.user.id, thread_id)
    if MINIMAL in request.headers.get("prefer", ""):
        return Response(None, status_code=HTTPStatus.NO_CONTENT)
    return Response(await thread_view(access, record))


@delete("/threads/{thread_id:str}")
async def delete_thread(request: Call, thread_id: FromPath[str]) -> None:
    access = await access_of(request)
    await _delete(access, await access.thread(thread_id, "delete"))


@post("/threads/search", status_code=HTTPStatus.OK)
async def search_threads(request: Call) -> Response[list[dict[str, Any]]]:
    access = await access_of(request)
    asked = await body_of(request, ThreadSearch)
    query = await _query(access, asked)
    if not 1 <= asked.limit <= MAX_PAGE:
        raise invalid(f"limit: must be from 1 to {MAX_PAGE}")
    if not 0 <= asked.offset <= MAX_OFFSET:
        raise invalid(f"offset: must be from 0 to {MAX_OFFSET}")
    if asked.extract is not None:
        raise invalid("extract: nothing is extracted here; ask for `values`")
    select = FIELDS if asked.select is None else asked.select
    for name in select:
        if name not in FIELDS:
            raise invalid(f"select: {name!r} is none of {', '.join(FIELDS)}")
    records = await access.service.thread_records.search(
        access.user.id,
        query,
        limit=asked.limit,
        offset=asked.offset,
        sort_by=asked.sort_by or "updated_at",
        descending=asked.sort_order != "asc",
    )
    total = await access.service.thread_records.count(access.user.id, query)
    headers = {"X-Pagination-Total": str(total)}
    if total > asked.offset + len(records) and records:
        headers["X-Pagination-Next"] = str(asked.offset + len(records))
    return Response(await _views(access, records, select), headers=headers)


@post("/threads/count", status_code=HTTPStatus.OK)
async def count_threads(request: Call) -> int:
    access = await access_of(request)
    query = await _query(access, await body_of(request, ThreadSearch))
    return await access.service.thread_records.count(access.user.id, query)


@post("/threads/prune", status_code=HTTPStatus.OK)
async def prune_threads(request: Call) -> dict[str, int]:
    access = await access_of(request)
    asked = await body_of(request, Pruning)
    if len(asked.thread_ids) > MAX_IDS:
        raise invalid(f"thread_ids: at most {MAX_IDS} at once")
    if asked.strategy != "delete":
        raise invalid("strategy: superseded checkpoints go by themselves as far as UNBROKEN_KEEP_BRANCHES lets them")
    pruned = 0
    for thread_id in dict.fromkeys(asked.thread_ids):
        try:
            await _delete(access, await access.thread(thread_id, "delete"))
        except (NotYourThread, ThreadDeleted, Problem):
            continue
        pruned += 1
    return {"pruned_count": pruned}


@post("/threads/{thread_id:str}/copy", status_code=HTTPStatus.OK)
async def copy_thread(request: Call, thread_id: FromPath[str]) -> dict[str, Any]:
    access = await access_of(request)
    record = await access.thread(thread_id)
    await _room_for_one_more(request, access)
    value: dict[str, Any] = {"thread_id": new_id(), "metadata": dict(record.metadata)}
    await access.allowed("threads", "create", value)
    copy = await copied(access.service, access.user.id, record, value["thread_id"], value["metadata"])
    return await thread_view(access, copy)


async def _views(access: Access, records: Sequence[ThreadRecord], select: Collection[str]) -> list[dict[str, Any]]:
    """Raises Problem: they are too long together, each with all that its agent knows."""
    views, size = [], 0
    for record in records:
        views.append(await thread_view(access, record, select))
        size += len(msgspec.json.encode(views[-1]))
        if size > MOST_BYTES:
            raise invalid(f"limit: {len(views)} threads are longer than {MOST_BYTES} bytes; ask for fewer, or select")
    return views


async def _query(access: Access, asked: ThreadSearch) -> ThreadQuery:
    if asked.values:
        raise invalid("values: threads are found by their metadata, status and ids, not by their values")
    if asked.ids is not None and len(asked.ids) > MAX_IDS:
        raise invalid(f"ids: at most {MAX_IDS} at once")
    value = {
        "metadata": dict(asked.metadata or {}),
        "status": asked.status.value if asked.status else None,
        "limit": asked.limit,
        "offset": asked.offset,
    }
    allowed = await access.allowed("threads", "search", value)
    sought = value["metadata"]
    where = both(allowed, where_of(sought) if isinstance(sought, dict) else ANY)
    return ThreadQuery(by_graph(access.service.agents, where), asked.status, asked.ids)


async def _delete(access: Access, record: ThreadRecord) -> None:
    if record.agent_id is None and await access.service.thread_records.discard(access.user.id, record.thread_id):
        return
    await access.service.delete_thread(access.user.id, record.thread_id)


async def _room_for_one_more(request: Call, access: Access) -> None:
    guard: Guard = request.app.state.guard
    limit = guard.limits.threads
    if limit is not None and await access.service.threads.count(access.user.id) >= limit:
        raise Problem(HTTPStatus.CONFLICT, "too_many_threads", f"you have {limit} threads; delete one first")
