"""A project's own ASGI application (`http.app`), with ours behind its routes.

request ──▶ their middleware ──▶ their routes ──none fits──▶ ours
start   ──▶ ours is up ──▶ their lifespan begins        stop ──▶ their lifespan ends ──▶ ours drains and closes
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from litestar.types import ASGIApp, Receive, Send

from unbroken.adapters.langgraph.importing import one_line
from unbroken.domain.errors import InvalidValue


class BesideUsers:
    """`users`: of Starlette's kind, FastAPI's among them; it gets one more mount, behind all of its routes."""

    def __init__(self, users: Any, ours: ASGIApp) -> None:
        self._users = users
        self._ours = ours
        users.mount("/", ours)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(self._users, scope, receive, send).run(self._ours)
        else:
            await self._users(scope, receive, send)


class _Lifespan:
    def __init__(self, users: Any, scope: Any, receive: Receive, send: Send) -> None:
        self._users = users
        self._scope = scope
        self._receive = receive
        self._send = send
        self._theirs = AsyncExitStack()

    async def run(self, ours: ASGIApp) -> None:
        async with self._theirs:
            await ours(self._scope, self._before_ours, self._after_ours)

    async def _before_ours(self) -> Any:
        message: Any = await self._receive()
        if message["type"] == "lifespan.shutdown":
            await self._theirs.aclose()
        return message

    async def _after_ours(self, message: Any) -> None:
        if message["type"] == "lifespan.startup.complete":
            try:
                state = await self._theirs.enter_async_context(self._users.router.lifespan_context(self._users))
            except Exception as error:  # noqa: BLE001 (theirs may raise anything; uvicorn is told)
                message = {"type": "lifespan.startup.failed", "message": f"http.app does not start: {one_line(error)}"}
            else:
                self._scope.setdefault("state", {}).update(state or {})
        await self._send(message)


def checked(label: str, source: str, found: Any) -> Any:
    """Raises InvalidValue: it is no application that can be mounted beside ours."""
    if not callable(found) or not callable(getattr(found, "mount", None)) or not hasattr(found, "router"):
        kind = type(found).__name__
        raise InvalidValue(label, f"{source} is a {kind}, not a Starlette or FastAPI application")
    return found
