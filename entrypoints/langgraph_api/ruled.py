"""A project's rules where its own protocol is not spoken: at the chat's socket, and at the page's routes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from unbroken.domain.catalogue import matches
from unbroken.domain.errors import NotYourThread
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.langgraph_api.permissions import Permissions, anything
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.guard import Guard
from unbroken.entrypoints.web.query import THREAD_ID
from unbroken.entrypoints.web.rest import Problem
from unbroken.entrypoints.web.user_limits import Allowance

ACTIONS: Final = {"GET": "read", "HEAD": "read", "POST": "update", "PATCH": "update", "DELETE": "delete"}


async def ruled(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Before a route of the page's. Raises Problem, Closed, NotYourThread."""
    permissions: Permissions = connection.app.state.permissions
    if permissions is anything:
        return
    thread_id = connection.path_params.get("thread_id")
    method = str(connection.scope.get("method"))
    made = "create" if method == "POST" else "search"
    action = made if thread_id is None else ACTIONS.get(method, "update")
    await _allowed(connection, await identified(connection), action, thread_id)


async def may_chat(connection: ASGIConnection[Any, Any, Any, Any], user: User) -> None:
    """Before a chat begins. Raises Closed: the rules do not let the user run anything in that thread."""
    thread_id = connection.query_params.get("threadId", "")
    if connection.app.state.permissions is anything or not THREAD_ID.fullmatch(thread_id):
        return  # an id that cannot be is refused with everything else in the address
    try:
        await _allowed(connection, user, "create_run", thread_id)
    except (Problem, NotYourThread) as error:
        raise Closed(CloseCode.NOT_YOUR_THREAD, str(error)) from None


async def _allowed(
    connection: ASGIConnection[Any, Any, Any, Any], user: User, action: str, thread_id: str | None
) -> None:
    value: dict[str, Any] = {"metadata": {}} if thread_id is None else {"thread_id": thread_id, "metadata": {}}
    permissions: Permissions = connection.app.state.permissions
    where = await permissions(user, "threads", action, value)
    if thread_id is None:
        return
    service: Service = connection.app.state.service
    if action == "create_run":
        await _noted(connection, user, thread_id, value["metadata"])
    record = await service.thread_records.get(user.id, thread_id)
    if not matches(record.metadata, where):
        raise NotYourThread(thread_id)


async def _noted(
    connection: ASGIConnection[Any, Any, Any, Any], user: User, thread_id: str, metadata: dict[str, Any]
) -> None:
    """A thread that comes to be is noted with what the rules have set, so that they find it again."""
    service: Service = connection.app.state.service
    guard: Guard = connection.app.state.guard
    if not await Allowance(guard.limits, service.threads, SessionKey(user.id, "any", thread_id)).thread():
        raise Problem(HTTPStatus.CONFLICT, "too_many_threads", "delete a thread first")
    await service.thread_records.create(user.id, thread_id, metadata)
