"""Runs in a thread: started, followed, listed, cancelled."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from unbroken.domain.errors import AlreadyEnded, InvalidValue
from unbroken.domain.runs import Run
from unbroken.entrypoints.langgraph_api.access import access_of
from unbroken.entrypoints.langgraph_api.answers import body_of, invalid
from unbroken.entrypoints.langgraph_api.run_bodies import Asked, modes_of
from unbroken.entrypoints.langgraph_api.run_events import NOTHING, Seen
from unbroken.entrypoints.langgraph_api.run_responses import RunResponses, accepted
from unbroken.entrypoints.langgraph_api.run_values import cancelling
from unbroken.entrypoints.langgraph_api.run_views import FIELDS, STATES, run_object
from unbroken.entrypoints.langgraph_api.thread_following import MODES, RUN_MODES
from unbroken.entrypoints.web.callers import identified, user_of
from unbroken.entrypoints.web.rest import Call, Problem, existing

MOST_RUNS: Final = 1_000
FARTHEST: Final = 1_000_000_000
FROM_THE_BEGINNING: Final = frozenset({"-", "-1", "0", "0-0"})
"""As `Last-Event-ID` of a thread: what came before anything was heard is told, too."""
TRUE: Final = frozenset({"1", "true", "yes", "on"})


def responses(request: Call) -> RunResponses:
    found: RunResponses = request.app.state.runs
    return found


async def run_named(
    request: Call, thread_id: str, run_id: str, action: str = "read", value: dict[str, Any] | None = None
) -> Run:
    """`action`, `value`: what is to be done with its thread, for the project's rules. Raises UnknownRequest,
    NotYourThread, ThreadDeleted, StoreUnavailable, Problem."""
    access = await access_of(request)
    await access.thread(thread_id, action, value)
    return await access.service.runs.get(access.user.id, thread_id, run_id)


@post("/threads/{thread_id:str}/runs", status_code=200)
async def create(request: Call, thread_id: FromPath[str]) -> Response[dict[str, Any]]:
    user = await identified(request)
    started = await responses(request).start(user, existing(thread_id), await body_of(request, Asked))
    return Response(run_object(accepted(started)), headers={"Content-Location": started.path})


@post("/threads/{thread_id:str}/runs/stream", status_code=200)
async def stream(request: Call, thread_id: FromPath[str]) -> ASGIApp:
    user = await identified(request)
    return await responses(request).stream(user, existing(thread_id), await body_of(request, Asked))


@post("/threads/{thread_id:str}/runs/wait", status_code=200)
async def wait(request: Call, thread_id: FromPath[str]) -> ASGIApp:
    user = await identified(request)
    return await responses(request).wait(user, existing(thread_id), await body_of(request, Asked))


@get("/threads/{thread_id:str}/runs")
async def list_runs(
    request: Call,
    thread_id: FromPath[str],
    limit: FromQuery[int] = 10,
    offset: FromQuery[int] = 0,
    status: FromQuery[str | None] = None,
    select: FromQuery[list[str] | None] = None,
) -> list[dict[str, Any]]:
    if not 1 <= limit <= MOST_RUNS or not 0 <= offset <= FARTHEST:
        raise InvalidValue("limit", f"must be from 1 to {MOST_RUNS}, and offset from 0 to {FARTHEST}")
    if status is not None and status not in STATES:
        raise InvalidValue("status", f"must be one of {', '.join(STATES)}")
    if unknown := set(select or ()) - set(FIELDS):
        raise InvalidValue("select", f"{min(unknown)!r} is no field of a run")
    access = await access_of(request)
    state = STATES[status] if status else None
    if (await access.thread(thread_id)).agent_id is None:
        return []
    found = await access.service.runs.page(access.user.id, thread_id, state=state, offset=offset, limit=limit)
    return [
        {field: value for field, value in run_object(run).items() if not select or field in select} for run in found
    ]


@get("/threads/{thread_id:str}/runs/{run_id:str}")
async def get_run(request: Call, thread_id: FromPath[str], run_id: FromPath[str]) -> dict[str, Any]:
    return run_object(await run_named(request, thread_id, run_id))


@get("/threads/{thread_id:str}/runs/{run_id:str}/join")
async def join(
    request: Call, thread_id: FromPath[str], run_id: FromPath[str], cancel_on_disconnect: FromQuery[str] = ""
) -> ASGIApp:
    run = await run_named(request, thread_id, run_id)
    cancels = await _cancels(request, run, cancel_on_disconnect)
    return await responses(request).join(await identified(request), run, cancels=cancels)


@get("/threads/{thread_id:str}/runs/{run_id:str}/stream")
async def join_stream(
    request: Call,
    thread_id: FromPath[str],
    run_id: FromPath[str],
    stream_mode: FromQuery[list[str] | None] = None,
    cancel_on_disconnect: FromQuery[str] = "",
) -> ASGIApp:
    run = await run_named(request, thread_id, run_id)
    cancels = await _cancels(request, run, cancel_on_disconnect)
    asked = [mode for one in stream_mode or () for mode in _listed(one)]
    modes = modes_of(asked) if asked else run_object(run)["kwargs"]["stream_mode"]
    after = Seen.parse(request.headers.get("last-event-id", "")) or NOTHING
    return await responses(request).join_stream(await identified(request), run, modes, after=after, cancels=cancels)


@get("/threads/{thread_id:str}/stream")
async def join_thread(
    request: Call, thread_id: FromPath[str], stream_mode: FromQuery[list[str] | None] = None
) -> ASGIApp:
    user = await identified(request)
    modes = [mode for one in stream_mode or () for mode in _listed(one)] or [RUN_MODES]
    if unknown := set(modes) - MODES:
        raise invalid(f"stream_mode {min(unknown)!r} is none of {', '.join(sorted(MODES))}")
    last = request.headers.get("last-event-id", "")
    after = NOTHING if last in FROM_THE_BEGINNING else Seen.parse(last)
    await (await access_of(request)).thread(thread_id)
    return await responses(request).join_thread(user, thread_id, modes, after=after)


@post("/threads/{thread_id:str}/runs/{run_id:str}/cancel")
async def cancel(
    request: Call,
    thread_id: FromPath[str],
    run_id: FromPath[str],
    waits: Annotated[str, QueryParameter(name="wait")] = "",
    action: FromQuery[str] = "interrupt",
) -> ASGIApp:
    rollback = forgets(action)
    run = await run_named(request, thread_id, run_id, "update", cancelling([run_id], forgets=rollback))
    try:
        await responses(request).cancel(run, await user_of(request), forgets=rollback)
    except AlreadyEnded:
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", "the run has ended already: nothing to cancel") from None
    if not _true(waits):
        return accepted_only
    return await responses(request).join(await identified(request), run, tells=False)


@delete("/threads/{thread_id:str}/runs/{run_id:str}")
async def delete_run(request: Call, thread_id: FromPath[str], run_id: FromPath[str]) -> None:
    """What a run has left is part of its thread's history, which has no holes: it goes with the thread."""
    await run_named(request, thread_id, run_id)
    raise Problem(HTTPStatus.CONFLICT, "conflict", "a run stays as long as its thread: delete the thread")


async def accepted_only(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.ACCEPTED, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def forgets(action: str) -> bool:
    """Raises Problem."""
    if action not in ("interrupt", "rollback"):
        raise invalid("action must be interrupt or rollback")
    return action == "rollback"


async def _cancels(request: Call, run: Run, asked: str) -> bool:
    """Whether the run is to be cancelled when its reader leaves. Raises Problem, NotYourThread: it may not be."""
    if _true(asked):
        await (await access_of(request)).thread(run.thread_id, "update", cancelling([run.id]))
    return _true(asked)


def _true(text: str) -> bool:
    return text.lower() in TRUE


def _listed(text: str) -> list[str]:
    """A mode, or several as a JSON array."""
    if text.startswith("["):
        try:
            return msgspec.json.decode(text, type=list[str])
        except msgspec.MsgspecError:
            raise invalid("stream_mode is no JSON array of modes") from None
    return [text] if text else []
