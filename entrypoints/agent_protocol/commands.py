"""What a command does, over either transport: the use cases behind them, and the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

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
from unbroken.domain.policy import own_question_id
from unbroken.domain.ports.event_store import Receipt
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.agent_protocol import positions
from unbroken.entrypoints.agent_protocol.codec import MAX_LISTED, Bad, params_of
from unbroken.entrypoints.agent_protocol.questions import open_questions
from unbroken.entrypoints.agent_protocol.wire import (
    Command,
    ErrorCode,
    Failure,
    InputRespond,
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
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.user_limits import Allowance

OURS: Final = ("thread_id", "user_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id", "assistant_id")
"""Of `configurable`: what names a thread, a user or a checkpoint is not the caller's to set."""


class Assistant(Struct, frozen=True):
    """A graph, with what its runs begin with."""

    graph: str
    config: dict[str, Any] = {}
    context: Any = None
    metadata: dict[str, Any] = {}


FindAssistant = Callable[[str, str], Awaitable[Assistant]]
"""(user, assistant's name or id) → which it is. Raises UnknownAgent."""
FindAgent = Callable[[str, str], Awaitable[str | None]]
"""(user, thread) → the agent that the thread belongs to; None: it had no run yet. Raises as `Threads.get`."""
ReadState = Callable[[SessionKey], Awaitable[msgspec.Raw | None]]
Subscribing = Callable[[Command, Struct], Any]
"""What a transport does with a subscription command: its result. Raises Bad."""


class Commands:
    """Of one thread, as one user gives them."""

    def __init__(
        self,
        service: Service,
        user_id: str,
        thread_id: str,
        *,
        allowance: Callable[[SessionKey], Allowance],
        find_assistant: FindAssistant,
        find_agent: FindAgent,
        read_state: ReadState,
        subscribing: Subscribing | None = None,
    ) -> None:
        self._service = service
        self._user_id = user_id
        self._thread_id = thread_id
        self._allowance = allowance
        self._find_assistant = find_assistant
        self._find_agent = find_agent
        self._read_state = read_state
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
            case StateFork(checkpoint_id, given, config):
                run_id = await self._fork(checkpoint_id, given, config)
                return {"run_id": run_id, "thread_id": self._thread_id}
            case Nothing():
                return {"tree": await self._tree()}
        if self._subscribing is None:
            raise Bad(ErrorCode.NOT_SUPPORTED, f"{command.method}: here each stream is a subscription of its own")
        return self._subscribing(command, params)

    async def _start(self, params: RunStartParams) -> str:
        assistant = await self._find_assistant(self._user_id, params.assistant_id)
        config, checkpoint_id = _own(params.config)
        body = RunStart(
            input=params.input,
            config=_merged(assistant.config, config),
            context=assistant.context if params.context is None else params.context,
            metadata=assistant.metadata | (params.metadata or {}),
            checkpoint_id=checkpoint_id,
            rich=True,
        )
        key = SessionKey(self._user_id, assistant.graph, self._thread_id)
        return await self._accept(key, body, _when_busy(params.multitask_strategy or params.multitaskStrategy))

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
        config, _ = _own(params.config)
        command = {"resume": resume} | {name: value for name, value in also.items() if value is not None}
        body = RunStart(command=command, config=config, metadata=params.metadata or {}, rich=True)
        return await self._accept(key, body, WhenBusy.ENQUEUE)

    async def _fork(self, checkpoint_id: str, given: Any, config: dict[str, Any] | None) -> str:
        body = RunStart(input=given, config=_own(config)[0], checkpoint_id=checkpoint_id, rich=True)
        return await self._accept(await self._key(), body, WhenBusy.ENQUEUE)

    async def _accept(self, key: SessionKey, body: RunStart, when_busy: WhenBusy | None) -> str:
        """The run's id is its event's."""
        allowance = self._allowance(key)
        if not allowance.message(asyncio.get_running_loop().time()):
            raise Bad(ErrorCode.UNKNOWN_ERROR, "too many messages in a minute: try again later")
        if not self.known_to_exist and not await allowance.thread():
            raise Bad(ErrorCode.PERMISSION_DENIED, "a user may have only so many threads: delete one first")
        run_id = new_id()
        receipt = await self._service.accept(key, run_id, body, when_busy=when_busy, event_id=run_id)
        self.known_to_exist = True
        self._meta = _applied(receipt)
        return run_id

    async def _cancel(self, run_id: str | None) -> None:
        key = await self._key()
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
        values = await self._read_state(await self._key())
        if values is None:
            return {"values": {}}
        if keys is None:
            return {"values": values}
        read = msgspec.json.decode(values)
        return {"values": {name: read[name] for name in keys if name in read} if isinstance(read, dict) else {}}

    async def _tree(self) -> dict[str, Any]:
        key = await self._key()
        view = await self._service.sessions.view(key.thread_id)
        unfinished = view is not None and view.key == key and view.pending
        status = "running" if unfinished else "completed"
        if not unfinished and await open_questions(self._service.sessions, self._service.outbox, key):
            status = "interrupted"
        return {"namespace": [], "status": status, "graph_name": key.agent_id}

    async def _key(self) -> SessionKey:
        agent = await self._find_agent(self._user_id, self._thread_id)
        if agent is None:
            raise Bad(ErrorCode.NO_SUCH_RUN, "this thread had no run yet")
        return SessionKey(self._user_id, agent, self._thread_id)


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


def _own(config: dict[str, Any] | None) -> tuple[dict[str, Any], str | None]:
    """What is the caller's of a run's config, and the checkpoint that it goes on from."""
    given = dict(config or {})
    configurable = given.get("configurable")
    if configurable is None:
        return given, None
    if not isinstance(configurable, dict):
        raise Bad(ErrorCode.INVALID_ARGUMENT, "config.configurable is an object")
    checkpoint_id = configurable.get("checkpoint_id")
    if checkpoint_id is not None and not (isinstance(checkpoint_id, str) and checkpoint_id.strip()):
        raise Bad(ErrorCode.INVALID_ARGUMENT, "config.configurable.checkpoint_id is a checkpoint's id")
    left = {key: value for key, value in configurable.items() if key not in OURS and not key.startswith("__")}
    return given | {"configurable": left}, checkpoint_id


def _merged(preset: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = preset | given
    if "configurable" in preset or "configurable" in given:
        merged["configurable"] = preset.get("configurable", {}) | given.get("configurable", {})
    return merged


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


STATUS: Final = {ErrorCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN}
