"""Runs without a thread: each has one of its own, which goes with its end unless it is to be kept; and many at once."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from http import HTTPStatus
from typing import Any, Final, Literal

from litestar import Response, post
from litestar.params import FromQuery
from litestar.types import ASGIApp
from msgspec import Struct

from unbroken.domain.errors import AlreadyEnded, NotYourThread, ThreadDeleted, UnknownRequest
from unbroken.domain.runs import Run
from unbroken.entrypoints.langgraph_api.access import Access, access_of
from unbroken.entrypoints.langgraph_api.answers import body_of, invalid
from unbroken.entrypoints.langgraph_api.permissions import anything
from unbroken.entrypoints.langgraph_api.run_bodies import Asked
from unbroken.entrypoints.langgraph_api.run_responses import accepted
from unbroken.entrypoints.langgraph_api.run_values import cancelling
from unbroken.entrypoints.langgraph_api.run_views import STATUS, run_object
from unbroken.entrypoints.langgraph_api.runs import forgets, responses
from unbroken.entrypoints.web.callers import identified, user_of
from unbroken.entrypoints.web.rest import Call, Problem

MOST_AT_ONCE: Final = 100


class Cancelled(Struct, frozen=True):
    thread_id: str | None = None
    run_ids: list[str] | None = None
    status: Literal["pending", "running", "all"] | None = None


@post("/runs", status_code=200)
async def create(request: Call) -> Response[dict[str, Any]]:
    started = await responses(request).start(await identified(request), None, await body_of(request, Asked))
    return Response(run_object(accepted(started)), headers={"Content-Location": started.path})


@post("/runs/stream", status_code=200)
async def stream(request: Call) -> ASGIApp:
    return await responses(request).stream(await identified(request), None, await body_of(request, Asked))


@post("/runs/wait", status_code=200)
async def wait(request: Call) -> ASGIApp:
    return await responses(request).wait(await identified(request), None, await body_of(request, Asked))


@post("/runs/batch", status_code=200)
async def batch(request: Call) -> list[dict[str, Any]]:
    """Each as if it had come alone: those before one that is refused have begun."""
    user = await identified(request)
    asked = await body_of(request, list[Asked])
    if len(asked) > MOST_AT_ONCE:
        raise invalid(f"at most {MOST_AT_ONCE} runs at once")
    return [run_object(accepted(await responses(request).start(user, None, one))) for one in asked]


@post("/runs/cancel", status_code=204)
async def cancel_many(request: Call, action: FromQuery[str] = "interrupt") -> None:
    asked = await body_of(request, Cancelled)
    user_id = await user_of(request)
    rollback = forgets(action)
    found = await _to_cancel(request, asked, user_id, rollback)
    if not found:
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", "No runs found to cancel.")
    outcomes = await asyncio.gather(
        *(responses(request).cancel(run, user_id, forgets=rollback) for run in found), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, AlreadyEnded):
            raise outcome


async def _to_cancel(request: Call, asked: Cancelled, user_id: str, rollback: bool) -> list[Run]:
    access = await access_of(request)
    service = access.service
    if asked.status is not None:
        if asked.thread_id or asked.run_ids:
            raise invalid("with a status, thread_id and run_ids must be omitted")
        unfinished = await service.runs.unfinished(user_id, limit=MOST_AT_ONCE * 10)
        found = [run for run in unfinished if asked.status in ("all", STATUS[run.state])]
        told = cancelling(None, forgets=rollback, status=asked.status)
        hidden = await _hidden(access, {run.thread_id for run in found}, told)
        return [run for run in found if run.thread_id not in hidden]
    if asked.thread_id is None or asked.run_ids is None:
        raise invalid("give a status, or both thread_id and run_ids")
    if len(asked.run_ids) > MOST_AT_ONCE:
        raise invalid(f"at most {MOST_AT_ONCE} runs at once")
    await access.thread(asked.thread_id, "update", cancelling(asked.run_ids, forgets=rollback))
    found = []
    for run_id in asked.run_ids:
        try:
            found.append(await service.runs.get(user_id, asked.thread_id, run_id))
        except UnknownRequest:
            continue
    return [run for run in found if not run.state.ended]


async def _hidden(access: Access, thread_ids: set[str], told: dict[str, Any]) -> set[str]:
    """Those that the project's rules do not let be changed, or that are gone meanwhile."""
    hidden: set[str] = set()
    if access.permissions is not anything:
        for thread_id in thread_ids:
            try:
                await access.thread(thread_id, "update", deepcopy(told))
            except (NotYourThread, ThreadDeleted, Problem):
                hidden.add(thread_id)
    return hidden
