"""What these routes have in common: bodies read within limits, and refusals as LangGraph's clients read them."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException

from unbroken.domain.errors import (
    AgentRaised,
    AlreadyEnded,
    Busy,
    InvalidValue,
    QueueFull,
    TooMany,
    UnbrokenError,
    UnknownAgent,
    UnknownAssistant,
    UnknownRequest,
)
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.rest import Call, Problem, headers_of, not_found, problem_of, read_body

T = TypeVar("T")


def invalid(message: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", message)


async def body_of(request: Call, type_: type[T]) -> T:
    """As long as a client's longest frame. Raises Problem: too long, not JSON, or of another shape."""
    service: Service = request.app.state.service
    body = await read_body(request, service.settings.max_frame_bytes)
    try:
        return msgspec.json.decode(body or b"{}", type=type_)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise invalid("the body is not JSON") from None


def refused(request: Call, error: Exception) -> Response[dict[str, str]]:
    problem = _problem_of(error)
    return Response({"detail": str(problem)}, status_code=problem.status, headers=headers_of(request, problem))


def _problem_of(error: Exception) -> Problem:
    match error:
        case UnknownAgent() | InvalidValue():
            return invalid(str(error))
        case UnknownAssistant():
            return not_found("assistant")
        case AgentRaised():
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, error.code, str(error))
        case UnknownRequest():
            return not_found("run")
        case AlreadyEnded() | Busy() | TooMany():
            return Problem(HTTPStatus.CONFLICT, "conflict", str(error))
        case QueueFull():
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", str(error))
        case _:
            return problem_of(error)


DETAILS: Final[dict[int | type[Exception], Callable[[Call, Exception], Response[Any]]]] = dict.fromkeys(
    (Problem, Closed, UnbrokenError, HTTPException, Exception), refused
)
