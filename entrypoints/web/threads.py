"""A user's threads over REST. A thread of somebody else is answered like one that does not exist: 404."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import UNSET, Struct, UnsetType

from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted
from unbroken.domain.session import SessionKey
from unbroken.domain.threads import MAX_TITLE, Place, Thread
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.langgraph_api.ruled import note, shown
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import user_of
from unbroken.entrypoints.web.guard import Guard
from unbroken.entrypoints.web.history import history_page
from unbroken.entrypoints.web.query import THREAD_ID
from unbroken.entrypoints.web.rest import Call, Problem, existing, json_body
from unbroken.entrypoints.web.user_limits import Allowance

MAX_PAGE: Final = 200
MAX_QUERY: Final = 200
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class NewThread(Struct, frozen=True, rename="camel"):
    thread_id: str | None = None
    agent_id: str | None = None
    title: str | None = None


class Changes(Struct, frozen=True):
    title: str | UnsetType | None = UNSET


@get("/api/me")
async def me(request: Call) -> dict[str, Any]:
    service: Service = request.app.state.service
    return {
        "userId": await user_of(request),
        "agents": list(service.agents.names()),
        "auth": service.settings.auth,
        "limits": {"contentBytes": service.settings.max_content_bytes, "fileBytes": service.settings.max_file_bytes},
    }


@get("/api/threads")
async def list_threads(
    request: Call,
    words: Annotated[str, QueryParameter(name="query")] = "",
    before: FromQuery[str | None] = None,
    limit: FromQuery[int] = 50,
) -> dict[str, Any]:
    """One more than asked for is read: whether another page follows is then known. A project's rules may hide some of
    a page."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidValue("limit", f"must be from 1 to {MAX_PAGE}")
    if len(words) > MAX_QUERY:
        raise InvalidValue("query", f"is {len(words)} characters long; the limit is {MAX_QUERY}")
    service: Service = request.app.state.service
    place = None if before is None else _place(before)
    user_id = await user_of(request)
    found = await service.threads.page(user_id, query=words.strip(), before=place, limit=limit + 1)
    page = found[:limit]
    return {"threads": await shown(request, user_id, page), "before": _opaque(page[-1]) if len(found) > limit else None}


@post("/api/threads")
async def create_thread(request: Call) -> Response[Thread]:
    user_id = await user_of(request)
    service: Service = request.app.state.service
    asked = await json_body(request, NewThread)
    if asked.thread_id is not None and not THREAD_ID.fullmatch(asked.thread_id):
        raise InvalidValue("threadId", "must be 1 to 128 of A-Z a-z 0-9 _ - .")
    agent_id = asked.agent_id or service.agents.names()[0]
    service.agents.get(agent_id)
    key = SessionKey(user_id, agent_id, asked.thread_id or new_id())
    guard: Guard = request.app.state.guard
    if not await Allowance(guard.limits, service.threads, key).thread():
        raise Problem(HTTPStatus.CONFLICT, "too_many_threads", "delete a thread first")
    try:
        title = _title(asked.title)
        await note(request, user_id, key.thread_id)
        thread = await service.threads.create(key, title=title)
    except (NotYourThread, ThreadDeleted):
        message = "this id cannot be used for a new thread"
        raise Problem(HTTPStatus.CONFLICT, "conflict", message) from None
    return Response(thread, status_code=HTTPStatus.CREATED)


@get("/api/threads/{thread_id:str}")
async def get_thread(request: Call, thread_id: FromPath[str]) -> Thread:
    service: Service = request.app.state.service
    return await service.threads.get(await user_of(request), existing(thread_id))


@patch("/api/threads/{thread_id:str}")
async def change_thread(request: Call, thread_id: FromPath[str]) -> Thread:
    user_id = await user_of(request)
    service: Service = request.app.state.service
    changes = await json_body(request, Changes)
    if isinstance(changes.title, UnsetType):
        return await service.threads.get(user_id, existing(thread_id))
    return await service.threads.rename(user_id, existing(thread_id), _title(changes.title))


@delete("/api/threads/{thread_id:str}")
async def delete_thread(request: Call, thread_id: FromPath[str]) -> None:
    service: Service = request.app.state.service
    await service.delete_thread(await user_of(request), existing(thread_id))


@get("/api/threads/{thread_id:str}/messages")
async def messages(
    request: Call, thread_id: FromPath[str], before: FromQuery[int | None] = None, limit: FromQuery[int] = 50
) -> dict[str, Any]:
    service: Service = request.app.state.service
    return await history_page(
        service.sessions, service.outbox, await user_of(request), existing(thread_id), before, limit
    )


def _title(title: str | None) -> str | None:
    """One line; nothing, where nothing is in it: then the title is made of the first message again."""
    line = " ".join((title or "").split())
    if len(line) > MAX_TITLE:
        raise InvalidValue("title", f"is {len(line)} characters long; the limit is {MAX_TITLE}")
    return line or None


def _opaque(thread: Thread) -> str:
    moment = (thread.updated_at - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(msgspec.json.encode([moment, thread.thread_id])).rstrip(b"=").decode()


def _place(before: str) -> Place:
    try:
        decoded = base64.urlsafe_b64decode(before.encode() + b"=" * (-len(before) % 4))
        moment, thread_id = msgspec.json.decode(decoded, type=tuple[int, str])
        return Place(EPOCH + timedelta(microseconds=moment), thread_id)
    except (binascii.Error, ValueError, OverflowError):
        raise InvalidValue("before", "must be what an earlier page gave") from None
