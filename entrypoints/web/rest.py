"""What REST has in common: bodies read within limits, and every refusal as `{"error": {"code", "message"}}`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException

from unbroken.domain.errors import (
    NotYourThread,
    ThreadDeleted,
    TooManyFiles,
    Unavailable,
    UnbrokenError,
    UnknownAgent,
    UnknownFile,
)
from unbroken.domain.utf16 import well_formed
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.guard import Guard
from unbroken.entrypoints.web.query import THREAD_ID

log = logging.getLogger(__name__)

Call = Request[Any, Any, State]
T = TypeVar("T")

MAX_JSON: Final = 64 << 10


class Problem(Exception):
    """A request that cannot be answered as it was asked. Its message may be that of a project's own rule, and say
    anything: it is made well-formed, or the refusal would be a failure of the server's."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(well_formed(str(message)))
        self.status = status
        self.code = code


def not_found(what: str = "thread") -> Problem:
    """Also for what belongs to somebody else: whoever asks cannot tell one from the other."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", f"no such {what}")


def existing(thread_id: str) -> str:
    """The id, if any thread could have it. Raises Problem."""
    if not THREAD_ID.fullmatch(thread_id):
        raise not_found()
    return thread_id


async def json_body(request: Call, type_: type[T]) -> T:
    """Raises Problem: too long, not JSON, or of another shape."""
    body = await read_body(request, MAX_JSON)
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "bad_json", "the body is not JSON") from None


async def read_body(request: Call, limit: int) -> bytes:
    """The whole body, or a refusal before more than `limit` bytes of it are held."""
    problem = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_long", f"the body is longer than {limit} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise problem
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise problem
    return bytes(body)


def _refusal(error: UnbrokenError) -> Problem:
    match error:
        case NotYourThread() | ThreadDeleted():
            return not_found()
        case UnknownFile():
            return not_found("file")
        case UnknownAgent():
            return Problem(HTTPStatus.BAD_REQUEST, "no_such_agent", str(error))
        case TooManyFiles():
            return Problem(HTTPStatus.CONFLICT, "too_many_files", str(error))
        case Unavailable():
            message = "the store does not answer; try again"
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message)
        case _:
            return Problem(HTTPStatus.BAD_REQUEST, "bad_request", str(error))


def problem_of(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case Closed(code=CloseCode.NOT_YOUR_THREAD):
            return Problem(HTTPStatus.FORBIDDEN, "not_allowed", str(error))
        case Closed():
            return Problem(HTTPStatus.UNAUTHORIZED, "not_authenticated", str(error))
        case UnbrokenError():
            return _refusal(error)
        case ValidationException(extra=[{"key": key, "message": message}, *_]):
            return Problem(HTTPStatus.BAD_REQUEST, "bad_request", f"{key}: {message}")
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return Problem(status, status.name.lower(), error.detail or status.phrase)
        case _:
            log.error("a request failed", exc_info=error)
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")


def headers_of(request: Call, problem: Problem) -> dict[str, str]:
    """What a refusal says beside its status, whatever form its body has."""
    headers = {"Cache-Control": "no-store"}
    if problem.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers["Connection"] = "close"  # the rest of the body is not read
    guard: Guard = request.app.state.guard
    if problem.status == HTTPStatus.UNAUTHORIZED and guard.identity.challenge:
        headers["WWW-Authenticate"] = guard.identity.challenge
    return headers


def refused(request: Call, error: Exception) -> Response[dict[str, Any]]:
    problem = problem_of(error)
    content = {"error": {"code": problem.code, "message": str(problem)}}
    return Response(content, status_code=problem.status, headers=headers_of(request, problem))


REFUSALS: Final[dict[int | type[Exception], Callable[[Call, Exception], Response[Any]]]] = dict.fromkeys(
    (Problem, Closed, UnbrokenError, HTTPException, Exception), refused
)
