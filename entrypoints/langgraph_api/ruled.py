"""A project's rules where its own protocol is not spoken: at the chat's socket, and at the page's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from msgspec import Struct
from msgspec.structs import replace

from unbroken.domain.catalogue import ANY, ThreadQuery, Where, matches
from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.events import UserMessage
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.domain.threads import Thread
from unbroken.entrypoints.langgraph_api.permissions import Permissions, anything
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.connection import Closed, Said
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.guard import Guard
from unbroken.entrypoints.web.query import THREAD_ID
from unbroken.entrypoints.web.rest import Call, Problem
from unbroken.entrypoints.web.user_limits import Allowance

ACTIONS: Final = {"GET": "read", "HEAD": "read", "POST": "update", "PATCH": "update", "DELETE": "delete"}


class Ruling(Struct, frozen=True):
    """What the rules said before a route of the page's."""

    where: Where = ANY
    """What must hold of the metadata of each thread that is shown."""
    metadata: dict[str, Any] = {}
    """What they set of a thread that comes to be."""


FREE: Final = Ruling()
NOTHING_SAID: Final[Mapping[str, Any]] = {"input": None, "command": None, "context": None}


async def ruled(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Before a route of the page's. Raises Problem, Closed, NotYourThread."""
    permissions: Permissions = connection.app.state.permissions
    if permissions is anything:
        return
    thread_id = connection.path_params.get("thread_id")
    method = str(connection.scope.get("method"))
    made = "create" if method == "POST" else "search"
    action = made if thread_id is None else ACTIONS.get(method, "update")
    connection.state.ruled = await _allowed(connection, await identified(connection), action, thread_id)


async def shown(request: Call, user_id: str, threads: Sequence[Thread]) -> Sequence[Thread]:
    """Those that the rules show."""
    ruling: Ruling = request.state.get("ruled", FREE)
    if ruling.where == ANY or not threads:
        return threads
    service: Service = request.app.state.service
    query = ThreadQuery(ruling.where, ids=tuple(thread.thread_id for thread in threads))
    found = await service.thread_records.search(user_id, query, limit=len(threads))
    ids = {record.thread_id for record in found}
    return [thread for thread in threads if thread.thread_id in ids]


async def note(request: Call, user_id: str, thread_id: str) -> None:
    """What the rules set of a thread that is about to come to be, so that they find it again. Raises NotYourThread: it
    is there, and they do not show it, ThreadDeleted."""
    ruling: Ruling | None = request.state.get("ruled")
    if ruling is None:
        return
    service: Service = request.app.state.service
    await service.thread_records.create(user_id, thread_id, ruling.metadata)
    record = await service.thread_records.get(user_id, thread_id)
    if not matches(record.metadata, ruling.where):
        raise NotYourThread(thread_id)


async def rules_of_chat(connection: ASGIConnection[Any, Any, Any, Any], user: User) -> ChatRules | None:
    """Before a chat begins. None: there are no rules. Raises Closed: they do not let the user run anything in that
    thread, or look at it."""
    thread_id = connection.query_params.get("threadId", "")
    if connection.app.state.permissions is anything or not THREAD_ID.fullmatch(thread_id):
        return None  # an id that cannot be is refused with everything else in the address
    rules = ChatRules(connection, user, thread_id)
    await rules.opened()
    return rules


class ChatRules:
    """Of one socket."""

    def __init__(self, connection: ASGIConnection[Any, Any, Any, Any], user: User, thread_id: str) -> None:
        self._connection = connection
        self._user = user
        self._thread_id = thread_id

    async def opened(self) -> None:
        with _closing():
            await _allowed(self._connection, self._user, "create_run", self._thread_id, begins=True)

    async def admit(self, body: Said) -> Said:
        if isinstance(body, UserMessage):
            said: dict[str, Any] = {"input": {"messages": [{"type": "human", "content": body.content}]}}
        else:
            said = {"command": {"resume": {body.interrupt_id: body.value}}}
        asked = {**NOTHING_SAID, "config": {"configurable": {}}, **deepcopy(said)}
        with _closing():
            await _allowed(self._connection, self._user, "create_run", self._thread_id, {"kwargs": asked})
        if any(asked.get(name) != value for name, value in said.items()):
            raise Closed(CloseCode.NOT_YOUR_THREAD, "the project's rules change what is said: a chat cannot say that")
        return replace(body, user=dict(self._user.details or {"identity": self._user.id}))

    async def look_again(self) -> None:
        """Raises Closed, as the function does."""
        self._user = await look_again(self._connection, self._user, self._thread_id)


async def look_again(connection: ASGIConnection[Any, Any, Any, Any], user: User, thread_id: str | None) -> User:
    """What is known of the user now. `thread_id` None: the rules are not asked about one. Raises Closed: nobody any
    more, or the rules do not show them the thread."""
    now = await identified(connection)
    if now.id != user.id:
        raise Closed(CloseCode.NOT_AUTHENTICATED, "somebody else is known by that now")
    if thread_id is None:
        return now
    permissions: Permissions = connection.app.state.permissions
    with _closing():
        where = await permissions(now, "threads", "read", {"thread_id": thread_id, "metadata": {}})
    service: Service = connection.app.state.service
    try:
        record = await service.thread_records.get(now.id, thread_id)
    except (NotYourThread, ThreadDeleted):
        return now  # there is nothing to be shown
    if not matches(record.metadata, where):
        raise Closed(CloseCode.NOT_YOUR_THREAD, str(NotYourThread(thread_id)))
    return now


def looking(
    connection: ASGIConnection[Any, Any, Any, Any], user: User, thread_id: str | None
) -> Callable[[], Awaitable[User]] | None:
    """How `look_again` is to be asked; None: there are no rules."""
    if connection.app.state.permissions is anything:
        return None
    return partial(look_again, connection, user, thread_id)


@contextmanager
def _closing() -> Iterator[None]:
    try:
        yield
    except (Problem, NotYourThread, ThreadDeleted) as error:
        raise Closed(CloseCode.NOT_YOUR_THREAD, str(error)) from None


async def _allowed(
    connection: ASGIConnection[Any, Any, Any, Any],
    user: User,
    action: str,
    thread_id: str | None,
    asked: Mapping[str, Any] | None = None,
    *,
    begins: bool = False,
) -> Ruling:
    """`begins`: the thread comes to be, where there is none."""
    value: dict[str, Any] = {"metadata": {}, **(asked or {})}
    if thread_id is not None:
        value["thread_id"] = thread_id
    permissions: Permissions = connection.app.state.permissions
    where = await permissions(user, "threads", action, value)
    ruling = Ruling(where, value["metadata"])
    if thread_id is None:
        return ruling
    service: Service = connection.app.state.service
    if begins:
        await _noted(connection, user, thread_id, value["metadata"])
    record = await service.thread_records.get(user.id, thread_id)
    if not matches(record.metadata, where):
        raise NotYourThread(thread_id)
    return ruling


async def _noted(
    connection: ASGIConnection[Any, Any, Any, Any], user: User, thread_id: str, metadata: dict[str, Any]
) -> None:
    """A thread that comes to be is noted with what the rules have set, so that they find it again."""
    service: Service = connection.app.state.service
    guard: Guard = connection.app.state.guard
    if not await Allowance(guard.limits, service.threads, SessionKey(user.id, "any", thread_id)).thread():
        raise Problem(HTTPStatus.CONFLICT, "too_many_threads", "delete a thread first")
    await service.thread_records.create(user.id, thread_id, metadata)
