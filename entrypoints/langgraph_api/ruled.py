"""A project's rules where its own protocol is not spoken: at the chat's socket, and at the page's routes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from msgspec import Struct
from msgspec.structs import replace

from unbroken.domain.catalogue import ANY, ThreadQuery, Where, matches
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted, UnknownAgent
from unbroken.domain.events import UserMessage, WhenBusy
from unbroken.domain.ports.identity import User
from unbroken.domain.session import SessionKey
from unbroken.domain.threads import Thread
from unbroken.entrypoints.langgraph_api.graph_ids import assistant_id_of
from unbroken.entrypoints.langgraph_api.permissions import Permissions, anything
from unbroken.entrypoints.langgraph_api.run_values import cancelling, given_by, runs_create
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.codec import BadFrame
from unbroken.entrypoints.web.connection import Closed, Said
from unbroken.entrypoints.web.frames import CloseCode, ErrorCode
from unbroken.entrypoints.web.guard import Guard
from unbroken.entrypoints.web.query import BadQuery, parse_query
from unbroken.entrypoints.web.rest import Call, Problem
from unbroken.entrypoints.web.user_limits import Allowance

log = logging.getLogger(__name__)

ACTIONS: Final = {"GET": "read", "HEAD": "read", "POST": "update", "PATCH": "update", "DELETE": "delete"}


class Ruling(Struct, frozen=True):
    """What the rules said before a route of the page's."""

    where: Where = ANY
    """What must hold of the metadata of each thread that is shown."""


FREE: Final = Ruling()


async def ruled(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Before a route of the page's. Raises Problem, Closed, NotYourThread."""
    permissions: Permissions = connection.app.state.permissions
    if permissions is anything:
        return
    method = str(connection.scope.get("method"))
    thread_id = _thread_of(connection.path_params)
    if thread_id is None and method == "POST":
        return  # one is made: `note` asks, which knows its id
    action = "search" if thread_id is None else ACTIONS.get(method, "update")
    connection.state.ruled = await _allowed(connection, await identified(connection), action, thread_id)


def _thread_of(params: Mapping[str, Any]) -> str | None:
    """By its id, or its session's key. None: no thread is meant, or none that could be."""
    if "key" not in params:
        return params.get("thread_id")
    try:
        return SessionKey.parse(params["key"]).thread_id
    except InvalidValue:
        return None


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
    """Whether the rules let a thread come to be, and what they set of it, so that they find it again. Raises Problem,
    NotYourThread: it is there, and they do not show it, ThreadDeleted."""
    permissions: Permissions = request.app.state.permissions
    if permissions is anything:
        return
    service: Service = request.app.state.service
    value: dict[str, Any] = {"thread_id": thread_id, "metadata": {}, "if_exists": "do_nothing"}
    where = await permissions(await identified(request), "threads", "create", value)
    await service.thread_records.create(user_id, thread_id, value["metadata"])
    record = await service.thread_records.get(user_id, thread_id)
    if not matches(record.metadata, where):
        raise NotYourThread(thread_id)


async def rules_of_chat(connection: ASGIConnection[Any, Any, Any, Any], user: User) -> ChatRules | None:
    """Before a chat begins. None: there are no rules. Raises Closed: they do not let the user run anything in that
    thread, or look at it."""
    if connection.app.state.permissions is anything:
        return None
    service: Service = connection.app.state.service
    try:
        hello = parse_query(connection.scope["query_string"])
        agent_id = hello.agent_id or service.agents.names()[0]
        service.agents.get(agent_id)
    except (BadQuery, UnknownAgent):
        return None  # nothing begins there: whoever opens the chat finds the same, and says why
    rules = ChatRules(connection, user, agent_id, hello.thread_id)
    await rules.opened()
    return rules


class ChatRules:
    """Of one socket."""

    def __init__(
        self, connection: ASGIConnection[Any, Any, Any, Any], user: User, agent_id: str, thread_id: str
    ) -> None:
        self._connection = connection
        self._user = user
        self._agent_id = agent_id
        self._thread_id = thread_id

    async def opened(self) -> None:
        with _closing():
            await self._asked({}, begins=True)

    async def admit(self, body: Said, when_busy: WhenBusy | None = None) -> Said:
        if isinstance(body, UserMessage):
            said: dict[str, Any] = {"input": {"messages": [{"type": "human", "content": body.content}]}}
        else:
            said = {"command": {"resume": {body.interrupt_id: body.value}}}
        with _closing():
            given = await self._asked(deepcopy(said), when_busy)
        if any(given[name] != said.get(name) for name in ("input", "command")):
            raise Closed(CloseCode.NOT_YOUR_THREAD, "the project's rules change what is said: a chat cannot say that")
        known = dict(self._user.details or {"identity": self._user.id})
        return replace(body, user=known, config=given["config"], context=given["context"])

    async def _asked(
        self, said: Mapping[str, Any], when_busy: WhenBusy | None = None, *, begins: bool = False
    ) -> dict[str, Any]:
        value = runs_create(self._thread_id, assistant_id_of(self._agent_id), said, when_busy=when_busy)
        await _allowed(self._connection, self._user, "create_run", self._thread_id, value, begins=begins)
        try:
            given = given_by(value)
            return given | {name: _stored(given[name]) for name in ("config", "context")}
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            log.error("the project's rule for threads.create_run set what no run can have: %s", error)
            raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "rule_failed", "a rule of the project failed") from None

    async def may_cancel(self, request_id: str) -> None:
        """Raises BadFrame."""
        try:
            await _allowed(self._connection, self._user, "update", self._thread_id, cancelling([request_id]))
        except Problem as refused:
            raise BadFrame(ErrorCode.NOT_ALLOWED, str(refused), request_id=request_id) from None

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


def _stored(value: Any) -> Any:
    """As an event will have it."""
    return msgspec.json.decode(msgspec.json.encode(value))


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
    asked: dict[str, Any] | None = None,
    *,
    begins: bool = False,
) -> Ruling:
    """`asked`: what is to be done, and then what the rules have made of that. `begins`: the thread comes to be, where
    there is none."""
    value: dict[str, Any] = {} if asked is None else asked
    value.setdefault("metadata", {})
    if thread_id is not None:
        value["thread_id"] = thread_id
    permissions: Permissions = connection.app.state.permissions
    where = await permissions(user, "threads", action, value)
    ruling = Ruling(where)
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
