"""Who knocks, for REST and sockets alike."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import State

from unbroken.domain.errors import NotAllowed, Refused
from unbroken.domain.ports.identity import User
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.guard import Guard


async def identified(connection: ASGIConnection[Any, Any, Any, State]) -> User:
    """Raises Closed with NOT_AUTHENTICATED."""
    guard: Guard = connection.app.state.guard
    try:
        return await guard.identify(connection)
    except NotAllowed as error:
        raise Closed(CloseCode.NOT_YOUR_THREAD, str(error)) from None
    except Refused as error:
        raise Closed(CloseCode.NOT_AUTHENTICATED, str(error)) from None


async def user_of(connection: ASGIConnection[Any, Any, Any, State]) -> str:
    """The caller's user id. Raises Closed with NOT_AUTHENTICATED."""
    return (await identified(connection)).id
