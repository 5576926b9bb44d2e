"""What clients and consoles ask of a server before anything else. Anyone may: nothing here names a user or a thread."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import Any, NoReturn

from litestar import get, post, route

from unbroken.entrypoints.web.rest import Problem


@get("/ok")
async def ok() -> dict[str, Any]:
    return {"ok": True, "services": {}}


@get("/info")
async def info() -> dict[str, Any]:
    return {
        "version": version("unbroken"),
        "langgraph_py_version": version("langgraph"),
        "flags": {"assistants": True, "crons": False, "langsmith": False},
        "host": {"kind": "self-hosted"},
    }


@post(["/runs/crons", "/runs/crons/search", "/runs/crons/count", "/threads/{thread_id:str}/runs/crons"])
async def crons() -> None:
    _no_timetables()


@route("/runs/crons/{cron_id:str}", http_method=["PATCH", "DELETE"], status_code=200)
async def cron() -> None:
    _no_timetables()


def _no_timetables() -> NoReturn:
    message = "crons: this server runs nothing by a timetable; let a scheduler post to /threads/{thread_id}/runs"
    raise Problem(HTTPStatus.NOT_FOUND, "not_found", message)
