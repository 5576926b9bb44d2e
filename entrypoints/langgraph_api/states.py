"""The state of a thread and its history, read through the agent's own graph; and written in order with its turns."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import get, post
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Struct

from unbroken.domain.catalogue import Metadata, RecordStatus, ThreadRecord
from unbroken.domain.effects import CancelTurn, ReportFailure, SkipEvent
from unbroken.domain.errors import NotYourThread
from unbroken.domain.events import StateUpdate
from unbroken.domain.ports.thread_states import Spot, State
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.langgraph_api.access import access_of
from unbroken.entrypoints.langgraph_api.answers import body_of, invalid
from unbroken.entrypoints.langgraph_api.graph_ids import graph_named
from unbroken.entrypoints.langgraph_api.thread_views import EMPTY, key_of
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.rest import Call, Problem

MAX_HISTORY: Final = 1_000
MAX_SPOT: Final = 2_048
FIRST_LOOK_S: Final = 0.01
LONGEST_LOOK_S: Final = 0.5


class Checkpoint(Struct, frozen=True):
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    thread_id: str | None = None
    checkpoint_map: Any = None


class AtCheckpoint(Struct, frozen=True):
    checkpoint: Checkpoint
    subgraphs: bool = False
    select: tuple[str, ...] | None = None


class HistoryQuery(Struct, frozen=True):
    limit: int = 10
    before: str | Checkpoint | None = None
    metadata: Metadata | None = None
    checkpoint: Checkpoint | None = None
    select: tuple[str, ...] | None = None


class NewState(Struct, frozen=True):
    values: Any = None
    as_node: str | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None


@get("/threads/{thread_id:str}/state")
async def get_state(
    request: Call,
    thread_id: FromPath[str],
    subgraphs: FromQuery[bool] = False,
    select: Annotated[list[str] | None, QueryParameter(name="select")] = None,
) -> State:
    return await _read(request, thread_id, Spot(), subgraphs, select)


@get("/threads/{thread_id:str}/state/{checkpoint_id:str}")
async def get_state_at(
    request: Call,
    thread_id: FromPath[str],
    checkpoint_id: FromPath[str],
    subgraphs: FromQuery[bool] = False,
    select: Annotated[list[str] | None, QueryParameter(name="select")] = None,
) -> State:
    return await _read(request, thread_id, Spot(checkpoint_id), subgraphs, select)


@post("/threads/{thread_id:str}/state/checkpoint", status_code=HTTPStatus.OK)
async def get_state_at_checkpoint(request: Call, thread_id: FromPath[str]) -> State:
    asked = await body_of(request, AtCheckpoint)
    return await _read(request, thread_id, _spot(asked.checkpoint), asked.subgraphs, asked.select)


@get("/threads/{thread_id:str}/history")
async def list_history(
    request: Call, thread_id: FromPath[str], limit: FromQuery[int] = 10, before: FromQuery[str | None] = None
) -> list[State]:
    return await _history(request, thread_id, HistoryQuery(limit, before))


@post("/threads/{thread_id:str}/history", status_code=HTTPStatus.OK)
async def search_history(request: Call, thread_id: FromPath[str]) -> list[State]:
    return await _history(request, thread_id, await body_of(request, HistoryQuery))


@post("/threads/{thread_id:str}/state", status_code=HTTPStatus.OK)
async def update_state(request: Call, thread_id: FromPath[str]) -> dict[str, Any]:
    """The update waits for its turn, like any event; the answer waits for its end, and names the head it has left."""
    access = await access_of(request)
    asked = await body_of(request, NewState)
    record = await access.thread(thread_id, "update")
    if await _runs(access.service, record):
        raise Problem(HTTPStatus.CONFLICT, "busy", "the thread is busy with a run; write its state when that has ended")
    service = access.service
    key = _bound_key(service, access.user.id, record)
    spot = _spot(asked.checkpoint) if asked.checkpoint else Spot()
    if spot.checkpoint_ns:
        raise invalid("checkpoint.checkpoint_ns: only the state of the whole graph can be written")
    known = None if access.known is None else dict(access.known)
    update = StateUpdate(asked.values, asked.as_node, asked.checkpoint_id or spot.checkpoint_id, known)
    receipt = await service.accept(key, new_id(), update)
    checkpoint_id = await until_written(service, thread_id, receipt.event.seq)
    head = {"checkpoint_id": checkpoint_id, "thread_id": thread_id, "checkpoint_ns": ""}
    return {"checkpoint": head, "configurable": head, "checkpoint_id": checkpoint_id}


async def _runs(service: Service, record: ThreadRecord) -> bool:
    """Whether anything but other writes of the state is unfinished in the thread."""
    if record.status is not RecordStatus.BUSY:
        return False
    view = await service.sessions.view(record.thread_id)
    return view is not None and any(not isinstance(event.body, StateUpdate) for event in view.pending)


async def _read(request: Call, thread_id: str, spot: Spot, subgraphs: bool, select: Any) -> State:
    access = await access_of(request)
    record = await access.thread(thread_id)
    key = key_of(access.user.id, record)
    states, user = access.service.states, access.known
    state = dict(EMPTY) if key is None else await states.read(key, spot, subgraphs=subgraphs, user=user)
    if state["checkpoint"] is None and spot.checkpoint_id is not None:
        place = {"checkpoint_id": spot.checkpoint_id, "thread_id": thread_id, "checkpoint_ns": spot.checkpoint_ns}
        state |= {"checkpoint": place, "checkpoint_id": spot.checkpoint_id}
    return _selected(state, select)


async def _history(request: Call, thread_id: str, asked: HistoryQuery) -> list[State]:
    if not 1 <= asked.limit <= MAX_HISTORY:
        raise invalid(f"limit: must be from 1 to {MAX_HISTORY}")
    before = asked.before.checkpoint_id if isinstance(asked.before, Checkpoint) else asked.before
    before = _checked("before", before)
    access = await access_of(request)
    record = await access.thread(thread_id)
    key = key_of(access.user.id, record)
    if key is None:
        return []
    found = await access.service.states.history(
        key,
        limit=asked.limit,
        before=before,
        metadata=asked.metadata,
        checkpoint_ns=_spot(asked.checkpoint).checkpoint_ns if asked.checkpoint else "",
        user=access.known,
    )
    return [_selected(state, asked.select) for state in found]


def _spot(checkpoint: Checkpoint) -> Spot:
    checkpoint_id = _checked("checkpoint.checkpoint_id", checkpoint.checkpoint_id)
    return Spot(checkpoint_id or None, _checked("checkpoint.checkpoint_ns", checkpoint.checkpoint_ns) or "")


def _checked(field: str, text: str | None) -> str | None:
    if text is not None and (len(text) > MAX_SPOT or "\x00" in text):
        raise invalid(f"{field}: is none")
    return text


def _selected(state: State, select: Any) -> State:
    """`values.messages` keeps one value of the state."""
    if not select:
        return state
    kept: State = {}
    for name in select:
        field, _, inner = str(name).partition(".")
        if field not in state or (inner and field != "values"):
            raise invalid(f"select: {name!r} is none of {', '.join(state)}, or values.<key>")
        if not inner:
            kept[field] = state[field]
        elif isinstance(state[field], dict) and inner in state[field]:
            kept.setdefault(field, {})[inner] = state[field][inner]
    return kept


def _bound_key(service: Service, user_id: str, record: ThreadRecord) -> SessionKey:
    """Of the agent that the thread belongs to, or is meant for."""
    key = key_of(user_id, record)
    meant = record.metadata.get("graph_id")
    if key is None and isinstance(meant, str):
        graph_id = graph_named(service.agents, meant)
        key = SessionKey(user_id, graph_id, record.thread_id) if graph_id else None
    if key is None:
        raise invalid("the thread has no graph yet: run one, or make the thread with graph_id in its metadata")
    return key


async def until_written(service: Service, thread_id: str, seq: int) -> str | None:
    """The head that the update has left, once it has ended, wherever it runs. Raises Problem if it failed or was pushed
    aside, NotYourThread if its thread is gone."""
    look_s = FIRST_LOOK_S
    while (view := await service.sessions.view(thread_id)) is not None and view.applied_seq < seq:
        await asyncio.sleep(look_s)
        look_s = min(2 * look_s, LONGEST_LOOK_S)
    ended = await service.outbox.end_of(thread_id, seq)
    if ended is None:
        raise NotYourThread(thread_id)
    match ended.body:
        case SkipEvent(code="cancelled") | CancelTurn():
            raise Problem(HTTPStatus.CONFLICT, "busy", "a run came first and pushed it aside: nothing was written")
        case SkipEvent(reason=message, code=str(code)) | ReportFailure(code=code, message=message):
            raise Problem(HTTPStatus.BAD_REQUEST, code, message)  # a process of the version before logged it
    return ended.checkpoint_id
