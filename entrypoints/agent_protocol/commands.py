"""What a command does, over either transport: the use cases behind them, and the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from unbroken.domain.catalogue import ThreadRecord
from unbroken.domain.errors import (
    AlreadyEnded,
    Busy,
    InvalidValue,
    NotYourThread,
    QueueFull,
    ThreadDeleted,
    Unavailable,
    UnbrokenError,
    UnknownAgent,
    UnknownRequest,
)
from unbroken.domain.events import RunStart, WhenBusy
from unbroken.domain.policy import asking_seq, own_question_id
from unbroken.domain.ports.event_store import Receipt
from unbroken.domain.ports.thread_states import Spot
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.agent_protocol import positions
from unbroken.entrypoints.agent_protocol.codec import MAX_LISTED, Bad, params_of
from unbroken.entrypoints.agent_protocol.wire import (
    Command,
    ErrorCode,
    Failure,
    InputRespond,
    ListCheckpoints,
    Meta,
    Nothing,
    Response,
    RunCancel,
    RunStartParams,
    StateFork,
    StateGet,
    Success,
)
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.langgraph_api.access import Access
from unbroken.entrypoints.langgraph_api.assistants import served
from unbroken.entrypoints.langgraph_api.going_on import served_before
from unbroken.entrypoints.langgraph_api.open_questions import open_questions
from unbroken.entrypoints.langgraph_api.run_bodies import Asked, NewRun, run_of
from unbroken.entrypoints.langgraph_api.run_values import cancelling
from unbroken.entrypoints.web.rest import Problem
from unbroken.entrypoints.web.user_limits import Allowance

Subscribing = Callable[[Command, Struct], Any]
"""What a transport does with a subscription command: its result. Raises Bad."""


class Commands:
    """Of one thread, as one user gives them."""

    def __init__(
        self,
        access: Access,
        thread_id: str,
        *,
        allowance: Callable[[SessionKey], Allowance],
        subscribing: Subscribing | None = None,
    ) -> None:
        self._access = access
        self._service = access.service
        self._user_id = access.user.id
        self._thread_id = thread_id
        self._allowance = allowance
        self._subscribing = subscribing
        self._meta: Meta | UnsetType = UNSET
        self.known_to_exist = False
        """Whether a run of this thread was accepted here."""

    async def __call__(self, command: Command) -> Success | Failure:
        """Never raises but NotYourThread and ThreadDeleted."""
        self._meta = UNSET
        try:
            params = params_of(command)
            result = await self._run(command, params)
        except Bad as bad:
            return Failure(command.id, bad.code, str(bad))
        except Problem as problem:
            refused = problem.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED)
            code = ErrorCode.PERMISSION_DENIED if refused else ErrorCode.INVALID_ARGUMENT
            return Failure(command.id, code, str(problem))
        except (NotYourThread, ThreadDeleted):
            raise
        except UnbrokenError as error:
            return Failure(command.id, _code_of(error), str(error))
        return Success(command.id, result, self._meta)

    async def _run(self, command: Command, params: Struct) -> Any:
        match params:
            case RunStartParams():
                return {"run_id": await self._start(params)}
            case InputRespond():
                return {"run_id": await self._respond(params)}
            case RunCancel(run_id):
                await self._cancel(run_id)
                return {}
            case StateGet(_, keys):
                return await self._state(keys)
            case ListCheckpoints():
                return {"checkpoints": await self._checkpoints(params)}
            case StateFork(checkpoint_id, given, config):
                run_id = await self._fork(checkpoint_id, given, config)
                return {"run_id": run_id, "thread_id": self._thread_id}
            case Nothing():
                return {"tree": await self._tree()}
        if self._subscribing is None:
            raise Bad(ErrorCode.NOT_SUPPORTED, f"{command.method}: here each stream is a subscription of its own")
        return self._subscribing(command, params)

    async def _start(self, params: RunStartParams) -> str:
        asked = Asked(
            params.assistant_id,
            input=params.input,
            config=params.config,
            context=params.context,
            metadata=params.metadata,
            multitask_strategy=_when_busy(params.multitask_strategy or params.multitaskStrategy),
            if_not_exists="create",
        )
        return await self._run_asked(asked)

    async def _run_asked(self, asked: Asked) -> str:
        assistant = await served(self._access, asked.assistant_id)
        key = SessionKey(self._user_id, assistant.graph_id, self._thread_id)
        return await self._accept(key, run_of(asked, assistant), asked.multitask_strategy)

    async def _go_on(self, key: SessionKey, asked: Asked, former: RunStart | None) -> str:
        """With the config and the context that the run before had, whichever assistant that was one of."""
        return await self._accept(key, run_of(asked, await served_before(self._access, key, former)), None)

    async def _respond(self, params: InputRespond) -> str:
        answers = _answers(params)
        key = await self._key()
        asked = await open_questions(self._service.sessions, self._service.outbox, key)
        own = {own_question_id(id_): id_ for id_ in asked}
        resume: dict[str, Any] = {}
        for answer in answers:
            name = own_question_id(answer.interrupt_id) if answer.interrupt_id in asked else answer.interrupt_id
            if name not in own:
                message = f"no question {answer.interrupt_id!r} is open: it was answered, or never asked"
                raise Bad(ErrorCode.NO_SUCH_INTERRUPT, message)
            resume[name] = answer.response
        also = {"update": params.update, "goto": params.goto}
        command = {"resume": resume} | {name: value for name, value in also.items() if value is not None}
        former = await self._service.runs.asking(self._thread_id, asking_seq(own[min(resume)]))
        asked_for = Asked(key.agent_id, command=command, config=params.config, metadata=params.metadata)
        return await self._go_on(key, asked_for, former)

    async def _fork(self, checkpoint_id: str, given: Any, config: dict[str, Any] | None) -> str:
        key = await self._key()
        found = await self._service.states.read(key, Spot(checkpoint_id), user=self._access.known)
        if found["created_at"] is None:
            message = f"this thread has no checkpoint {checkpoint_id!r}: it was pruned, or never was"
            raise Bad(ErrorCode.NO_SUCH_CHECKPOINT, message)
        former = await self._service.runs.latest_start(self._thread_id)
        asked = Asked(key.agent_id, input=given, config=config, checkpoint_id=checkpoint_id)
        return await self._go_on(key, asked, former)

    async def _accept(self, key: SessionKey, run: NewRun, when_busy: WhenBusy | None) -> str:
        """The run's id is its event's."""
        allowance = self._allowance(key)
        if not allowance.message(asyncio.get_running_loop().time()):
            raise Bad(ErrorCode.UNKNOWN_ERROR, "too many messages in a minute: try again later")
        if not self.known_to_exist and not await allowance.thread():
            raise Bad(ErrorCode.PERMISSION_DENIED, "a user may have only so many threads: delete one first")
        record = await self._record(key)
        run_id = new_id()
        body = await self._access.run(self._thread_id, run, record, run_id=run_id, when_busy=when_busy)
        _check_graph(key, record)
        receipt = await self._service.accept(key, run_id, body, when_busy=when_busy, event_id=run_id)
        self.known_to_exist = True
        self._meta = _applied(receipt)
        return run_id

    async def _record(self, key: SessionKey) -> ThreadRecord | None:
        """None: it is not there yet, or is not this user's, as the accept decides."""
        with suppress(NotYourThread):
            return await self._service.thread_records.get(key.user_id, key.thread_id)
        return None

    async def _cancel(self, run_id: str | None) -> None:
        key = await self._key("update", cancelling(None if run_id is None else [run_id]))
        view = await self._service.sessions.view(key.thread_id)
        waiting = view.pending if view is not None and view.key == key else ()
        found = [event for event in waiting if run_id in (None, event.id)]
        if not found:
            raise Bad(ErrorCode.NO_SUCH_RUN, "no such run is unfinished in this thread")
        for event in found:
            try:
                await self._service.cancel(key, event.request_id)
            except AlreadyEnded:
                continue

    async def _state(self, keys: list[str] | None) -> dict[str, Any]:
        state = await self._service.states.read(await self._key(), Spot(), user=self._access.known)
        values, place = state["values"], state["checkpoint"]
        if keys is not None:
            values = {name: values[name] for name in keys if name in values} if isinstance(values, dict) else {}
        found = {} if place is None else {"checkpoint": {"id": place["checkpoint_id"], "ns": place["checkpoint_ns"]}}
        return {"values": values} | found

    async def _checkpoints(self, params: ListCheckpoints) -> list[dict[str, Any]]:
        if not 1 <= params.limit <= MAX_LISTED:
            raise Bad(ErrorCode.INVALID_ARGUMENT, f"limit: from 1 to {MAX_LISTED}")
        namespace = "|".join(params.namespace)
        states = await self._service.states.history(
            await self._key(),
            limit=params.limit,
            before=params.before,
            checkpoint_ns=namespace,
            user=self._access.known,
        )
        return [
            {
                "id": state["checkpoint"]["checkpoint_id"],
                "timestamp": state["created_at"],
                "step": (state["metadata"] or {}).get("step", -1),
                "metadata": state["metadata"] or {},
            }
            for state in states
        ]

    async def _tree(self) -> dict[str, Any]:
        key = await self._key()
        view = await self._service.sessions.view(key.thread_id)
        unfinished = view is not None and view.key == key and view.pending
        status = "running" if unfinished else "completed"
        if not unfinished and await open_questions(self._service.sessions, self._service.outbox, key):
            status = "interrupted"
        return {"namespace": [], "status": status, "graph_name": key.agent_id}

    async def _key(self, action: str = "read", value: dict[str, Any] | None = None) -> SessionKey:
        agent_id = (await self._access.thread(self._thread_id, action, value)).agent_id
        if agent_id is None:
            raise Bad(ErrorCode.NO_SUCH_RUN, "this thread had no run yet")
        return SessionKey(self._user_id, agent_id, self._thread_id)


def _check_graph(key: SessionKey, record: ThreadRecord | None) -> None:
    """Raises Bad: the thread is another graph's."""
    bound = None if record is None else record.agent_id
    if bound not in (None, key.agent_id):
        message = f"this thread belongs to the graph {bound!r}: start {key.agent_id!r} in a thread of its own"
        raise Bad(ErrorCode.INVALID_ARGUMENT, message)


def _applied(receipt: Receipt) -> Meta | UnsetType:
    """Known where the run begins at once; one that waits is behind others that the client may not have seen."""
    if receipt.claim is None:
        return UNSET
    return Meta(positions.before(receipt.claim.run))


def _answers(params: InputRespond) -> list[Response]:
    if params.responses is not None:
        if not 0 < len(params.responses) <= MAX_LISTED:
            raise Bad(ErrorCode.INVALID_ARGUMENT, f"responses: from 1 to {MAX_LISTED} answers")
        return params.responses
    if params.interrupt_id is None:
        raise Bad(ErrorCode.INVALID_ARGUMENT, "input.respond needs an interrupt_id, or responses")
    return [Response(params.interrupt_id, params.response)]


def _when_busy(strategy: str | None) -> WhenBusy | None:
    if strategy is None:
        return None
    try:
        return WhenBusy(strategy)
    except ValueError:
        known = ", ".join(WhenBusy)
        raise Bad(ErrorCode.INVALID_ARGUMENT, f"multitask_strategy must be one of {known}") from None


def _code_of(error: UnbrokenError) -> ErrorCode:
    match error:
        case UnknownRequest() | AlreadyEnded():
            return ErrorCode.NO_SUCH_RUN
        case UnknownAgent() | InvalidValue():
            return ErrorCode.INVALID_ARGUMENT
        case Busy() | QueueFull() | Unavailable():
            return ErrorCode.UNKNOWN_ERROR
    return ErrorCode.INVALID_ARGUMENT
