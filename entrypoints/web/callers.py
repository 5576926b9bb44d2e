"""Who knocks, as the authentication layer sees it: for REST and sockets alike."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import State

from unbroken.domain.errors import Refused
from unbroken.domain.ports.identity import Caller
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode


def user_of(connection: ASGIConnection[Any, Any, Any, State]) -> str:
    """The caller's user id. Raises Closed with NOT_AUTHENTICATED."""
    client = connection.client
    caller = Caller(
        host=client.host if client else "",
        headers={name.lower(): value for name, value in connection.headers.items()},
        query=dict(connection.query_params),
        scheme=str(connection.scope.get("scheme", "")),
    )
    try:
        return str(connection.app.state.identity.user_of(caller))
    except Refused as error:
        raise Closed(CloseCode.NOT_AUTHENTICATED, str(error)) from error
