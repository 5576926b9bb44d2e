"""What clients and consoles ask of a server before anything else. Anyone may: nothing here names a user or a thread."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from litestar import get


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
