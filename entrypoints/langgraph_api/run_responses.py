"""Starting, following and stopping runs for HTTP callers: one of these a process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Struct

from unbroken.domain.catalogue import ThreadRecord
from unbroken.domain.effects import ReportFailure
from unbroken.domain.errors import AgentRaised, Busy, NotYourThread, UnbrokenError
from unbroken.domain.events import Event, RunStart
from unbroken.domain.ports.identity import User
from unbroken.domain.runs import Run, RunState
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.langgraph_api.access import Access
from unbroken.entrypoints.langgraph_api.assistants import served
from unbroken.entrypoints.langgraph_api.event_stream import encoded
from unbroken.entrypoints.langgraph_api.going_on import for_answer
from unbroken.entrypoints.langgraph_api.permissions import Permissions
from unbroken.entrypoints.langgraph_api.ruled import looking
from unbroken.entrypoints.langgraph_api.run_bodies import Asked, run_of
from unbroken.entrypoints.langgraph_api.run_events import (
    NOTHING,
    RunEvents,
    Seen,
    failure,
    interrupts,
    with_interrupts,
)
from unbroken.entrypoints.langgraph_api.run_following import End, FollowedRun, unreadable
from unbroken.entrypoints.langgraph_api.thread_following import MOST_MISSED, FollowedThread
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.event_stream import BLANK, HEADERS, HEARTBEAT, Streamed
from unbroken.entrypoints.web.open_connections import OpenConnections
from unbroken.entrypoints.web.rest import Problem, not_found
from unbroken.entrypoints.web.user_limits import Allowance, TooManySockets, UserLimits

log = logging.getLogger(__name__)

BUSY: Final = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


class Started(Struct, frozen=True):
    key: SessionKey
    event: Event

    @property
    def path(self) -> str:
        return f"/threads/{self.key.thread_id}/runs/{self.event.id}"

    @property
    def temporary(self) -> bool:
        return isinstance(self.event.body, RunStart) and self.event.body.temporary


class RunResponses:
    def __init__(
        self, service: Service, limits: UserLimits, permissions: Permissions, connections: OpenConnections
    ) -> None:
        self._service = service
        self._permissions = permissions
        self._limits = limits
        self._connections = connections
        self._forgetting: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        for task in self._forgetting:
            task.cancel()

    async def start(self, user: User, thread_id: str | None, asked: Asked) -> Started:
        """Accept a run. `thread_id` None: in a thread of its own. Raises Problem, and what `AcceptEvent` does."""
        started, _ = await self._start(user, thread_id, asked, follows=False)
        if started.temporary:
            self._forget_later(started)
        return started

    async def stream(self, user: User, thread_id: str | None, asked: Asked) -> ASGIApp:
        started, followed = await self._begin(user, thread_id, asked)
        return self._events(user, started, followed, asked.modes, cancels=asked.on_disconnect == "cancel")

    async def wait(self, user: User, thread_id: str | None, asked: Asked) -> ASGIApp:
        started, followed = await self._begin(user, thread_id, asked)
        return self._value(user, started, followed, cancels=asked.on_disconnect == "cancel")

    async def begun(self, user: User, thread_id: str, asked: Asked, run_id: str) -> tuple[Started, FollowedRun]:
        """Accept a run under an id that its caller has made, for `told`. Raises as `start`."""
        return await self._begin(user, thread_id, asked, run_id)

    async def joined(self, user: User, started: Started) -> FollowedRun:
        """A run that was started before, for `told`. Raises as `join_stream`."""
        return await self._join(user, started.key)

    def told(self, user: User, started: Started, followed: FollowedRun, body: AsyncGenerator[bytes, None]) -> ASGIApp:
        """`body`: server-sent events that somebody makes of a run that was `begun` or `joined`."""
        return self._of_run(user, started, followed, body, HEADERS, HEARTBEAT, cancels=False)

    async def join_stream(
        self, user: User, run: Run, modes: Collection[str], *, after: Seen = NOTHING, cancels: bool = False
    ) -> ASGIApp:
        """Raises NotYourThread, ThreadDeleted, StoreUnavailable, Problem."""
        started = started_as(user.id, run)
        followed = await self._join(user, started.key)
        return self._events(user, started, followed, modes, after=after, cancels=cancels)

    async def join(self, user: User, run: Run, *, cancels: bool = False, tells: bool = True) -> ASGIApp:
        """`tells` False: an empty object instead of the values. Raises as `join_stream`."""
        started = started_as(user.id, run)
        return self._value(user, started, await self._join(user, started.key), cancels=cancels, tells=tells)

    async def join_thread(
        self, user: User, thread_id: str, modes: Collection[str], *, after: Seen | None = None
    ) -> ASGIApp:
        """`after` None: what comes from now on. Raises NotYourThread, ThreadDeleted, StoreUnavailable, Problem."""
        await self._service.thread_records.get(user.id, thread_id)
        self._open(user)
        opened: list[FollowedRun] = []

        async def pieces() -> AsyncGenerator[bytes, None]:
            key, fresh = await self._bound(user.id, thread_id)
            opened.append(followed := await self._follow(user, key, joins=True, whole_log=fresh))
            missed = [] if after is None else await self._service.runs.page(user.id, thread_id, limit=MOST_MISSED)
            thread = FollowedThread(followed, modes, after or NOTHING)
            async for events in thread.events([run for run in missed if run.state.ended]):
                yield encoded(events)

        def closed() -> None:
            for followed in opened:
                followed.close()
            self._limits.closed(user.id)

        headers = HEADERS | {"location": f"/threads/{thread_id}/stream"}
        return self._streamed(user, pieces(), headers, HEARTBEAT, closed, looks_at=thread_id)

    async def _bound(self, user_id: str, thread_id: str) -> tuple[SessionKey, bool]:
        """The thread's session, once it has one; and whether that was waited for. Raises as `ThreadRecords.get`."""
        pause_s = 0.0
        while (agent_id := (await self._service.thread_records.get(user_id, thread_id)).agent_id) is None:
            pause_s = min(pause_s + 0.1, 1.0)
            await asyncio.sleep(pause_s)
        return SessionKey(user_id, agent_id, thread_id), pause_s > 0

    async def cancel(self, run: Run, user_id: str, *, forgets: bool) -> None:
        """Raises AlreadyEnded, NotYourThread, ThreadDeleted, StoreUnavailable, CommitUnknown."""
        key = started_as(user_id, run).key
        await self._service.cancel(key, run.request_id, "rollback" if forgets else "cancel")

    def _open(self, user: User) -> None:
        try:
            self._limits.opened(user.id)
        except TooManySockets as error:
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_many", str(error)) from error
        if self._service.stopping:
            self._limits.closed(user.id)
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "restarting", "the server is stopping; ask again")

    async def _begin(
        self, user: User, thread_id: str | None, asked: Asked, run_id: str | None = None
    ) -> tuple[Started, FollowedRun]:
        """For a reader, who counts from here on."""
        self._open(user)
        try:
            started, followed = await self._start(user, thread_id, asked, follows=True, run_id=run_id)
        except BaseException:
            self._limits.closed(user.id)
            raise
        assert followed is not None
        return started, followed

    async def _start(
        self, user: User, thread_id: str | None, asked: Asked, *, follows: bool, run_id: str | None = None
    ) -> tuple[Started, FollowedRun | None]:
        service = self._service
        access, stateless = Access(user, service, self._permissions), thread_id is None
        assistant = await served(access, asked.assistant_id)
        key = SessionKey(user.id, assistant.graph_id, thread_id or new_id())
        if not stateless:
            assistant = await for_answer(service, key, asked, assistant)
        run = run_of(asked, assistant, stateless=stateless)
        record = await self._allow(key, thread_id, creates=run.creates)
        run_id, busy = run_id or new_id(), asked.when_busy
        body = await access.run(key.thread_id, run, record, run_id=run_id, when_busy=busy, stateless=stateless)
        followed: FollowedRun | None = None
        try:
            followed = await self._follow(user, key) if follows else None
            receipt = await self._service.accept(key, run_id, body, when_busy=busy, event_id=run_id)
        except BaseException as error:
            if followed is not None:
                followed.close()
            if stateless:
                await self._unnote(key)
            if isinstance(error, Busy):
                raise Problem(HTTPStatus.CONFLICT, "busy", BUSY) from error
            raise
        if followed is not None:
            followed.joins = receipt.duplicate  # whoever asked for it first may have seen its end
        return Started(key, receipt.event), followed

    async def _unnote(self, key: SessionKey) -> None:
        """Of a thread that nobody has named: if its run was not accepted, nobody is to find it."""
        with suppress(UnbrokenError):  # nothing was noted; and an accept that stands has bound it, and it stays
            await self._service.thread_records.discard(key.user_id, key.thread_id)

    async def _allow(self, key: SessionKey, thread_id: str | None, *, creates: bool) -> ThreadRecord | None:
        """The thread, None if it is to come to be, if the caller may say something more in it. Raises Problem,
        ThreadDeleted."""
        allowance = Allowance(self._limits, self._service.threads, key)
        if not allowance.message(asyncio.get_running_loop().time()):
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_fast", "too many runs in a minute")
        if thread_id is not None:
            try:
                record = await self._service.thread_records.get(key.user_id, thread_id)
            except NotYourThread:
                if not creates:
                    raise not_found() from None
            else:
                if record.agent_id not in (None, key.agent_id):
                    message = f"the thread belongs to the graph {record.agent_id!r}; start another one"
                    raise Problem(HTTPStatus.CONFLICT, "other_graph", message)
                return record
        if not await allowance.thread():
            raise Problem(HTTPStatus.CONFLICT, "too_many_threads", "delete a thread first")
        return None

    async def _follow(
        self, user: User, key: SessionKey, *, joins: bool = False, whole_log: bool = False
    ) -> FollowedRun:
        known = Access(user, self._service, self._permissions).known
        return await FollowedRun.begin(self._service, key, joins=joins, whole_log=whole_log, user=known)

    async def _join(self, user: User, key: SessionKey) -> FollowedRun:
        self._open(user)
        try:
            return await self._follow(user, key, joins=True)
        except BaseException:
            self._limits.closed(user.id)
            raise

    def _events(
        self,
        user: User,
        started: Started,
        followed: FollowedRun,
        modes: Collection[str],
        *,
        after: Seen = NOTHING,
        cancels: bool,
    ) -> ASGIApp:
        body = started.event.body
        client = body.client if isinstance(body, RunStart) else {}
        about = {
            **(body.metadata if isinstance(body, RunStart) else {"graph_id": started.key.agent_id}),
            "run_id": started.event.id,
            "thread_id": started.key.thread_id,
        }
        view = RunEvents(started.event, modes, subgraphs=bool(client.get("subgraphs")), after=after, about=about)
        headers = HEADERS | {"location": f"{started.path}/stream", "content-location": started.path}

        async def pieces() -> AsyncGenerator[bytes, None]:
            async for events in followed.events(started.event, view):
                yield encoded(events)
            await self._over(started)

        return self._of_run(user, started, followed, pieces(), headers, HEARTBEAT, cancels=cancels)

    def _value(
        self, user: User, started: Started, followed: FollowedRun, *, cancels: bool, tells: bool = True
    ) -> ASGIApp:
        headers = {
            "content-type": "application/json",
            "location": f"{started.path}/join",
            "content-location": started.path,
        }

        async def pieces() -> AsyncGenerator[bytes, None]:
            end = await followed.end(started.event)
            yield await _result(followed, started.event.id, end) if tells else b"{}"
            await self._over(started)

        return self._of_run(user, started, followed, pieces(), headers, BLANK, cancels=cancels)

    def _of_run(
        self,
        user: User,
        started: Started,
        followed: FollowedRun,
        body: AsyncGenerator[bytes, None],
        headers: dict[str, str],
        idle: bytes,
        *,
        cancels: bool,
    ) -> ASGIApp:
        async def left() -> None:
            if cancels:
                await self._cancelled(started)
            if started.temporary:
                self._forget_later(started)

        def closed() -> None:
            followed.close()
            self._limits.closed(user.id)

        looks_at = started.key.thread_id if followed.joins else None
        return self._streamed(user, body, headers, idle, closed, left, looks_at=looks_at)

    def _streamed(
        self,
        user: User,
        body: AsyncGenerator[bytes, None],
        headers: dict[str, str],
        idle: bytes,
        closed: Callable[[], None],
        left: Callable[[], Awaitable[None]] | None = None,
        *,
        looks_at: str | None,
    ) -> ASGIApp:
        """`looks_at`: the thread that the user was allowed to read; None: only to run something in it."""
        return Streamed(
            body,
            self._connections,
            headers=headers,
            idle=idle,
            until=user.until,
            looks=partial(looking, user=user, thread_id=looks_at),
            left=left,
            closed=closed,
        )

    async def _cancelled(self, started: Started) -> None:
        try:
            await self._service.cancel(started.key, started.event.request_id)
        except UnbrokenError as error:  # it has ended, with its thread perhaps; or nobody can be asked now
            log.info("a run whose reader left was not cancelled: %s", error)

    async def _over(self, started: Started) -> None:
        """The run has ended, and its caller has heard."""
        if started.temporary:
            try:
                await self._service.delete_thread(started.key.user_id, started.key.thread_id)
            except UnbrokenError as error:
                log.warning("the thread of a run without one stays: %s", error)

    def _forget_later(self, started: Started) -> None:
        """If this process stops or dies before, `ExpireThreads` does it."""
        task = asyncio.create_task(self._forget(started))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forget(self, started: Started) -> None:
        try:
            followed = await FollowedRun.begin(self._service, started.key, joins=True)
            try:
                ended = await followed.end(started.event) is not None
            finally:
                followed.close()
        except UnbrokenError as error:
            log.warning("the thread of a run without one stays: %s", error)
            return
        if ended:
            await self._over(started)


def started_as(user_id: str, run: Run) -> Started:
    event = Event(run.seq, run.id, run.request_id, run.body, run.created_at)
    return Started(SessionKey(user_id, run.agent_id, run.thread_id), event)


def accepted(started: Started) -> Run:
    """The run as its caller is first told of it."""
    event = started.event
    key = started.key
    return Run(
        id=event.id,
        thread_id=key.thread_id,
        agent_id=key.agent_id,
        seq=event.seq,
        request_id=event.request_id,
        body=event.body,
        created_at=event.created_at,
        state=RunState.PENDING,
    )


async def _result(followed: FollowedRun, run_id: str, end: End | None) -> bytes:
    if end is None:
        return b"{}"
    if isinstance(end.body, ReportFailure):
        return msgspec.json.encode({"__error__": failure(end.body)})
    asked: list[dict[str, Any]] = interrupts(end.questions)
    try:
        return with_interrupts(await followed.values(run_id), asked)
    except AgentRaised as error:
        return msgspec.json.encode({"__error__": failure(unreadable(end, error))})
