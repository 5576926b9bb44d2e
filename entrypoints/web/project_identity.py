"""A LangGraph project's own way to know its callers: the function that its `auth.path` names."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from langgraph_sdk import Auth
from litestar.datastructures import Headers

from unbroken.domain.errors import InvalidValue, NotAllowed, Refused
from unbroken.domain.ports.identity import Caller, Identity, User
from unbroken.domain.session import check_id
from unbroken.entrypoints.web.project_users import said_of
from unbroken.entrypoints.web.token_identity import TOKEN_PROTOCOL

log = logging.getLogger(__name__)

KEY: Final = "langgraph.json: auth.path"
PLACES: Final = {"threads": "thread_id", "runs": "run_id", "assistants": "assistant_id"}
"""What an address names, by what stands before it."""
NOT_IDS: Final = frozenset({"search", "count", "prune", "stream", "wait", "batch", "cancel", "crons"})
MAX_DETAILS: Final = 16 << 10
"""Bytes of what is known of a user, as JSON: they go into each run."""
MOST_TOLD: Final = 64
"""Attributes of users that the log names as left out."""


class ProjectIdentity(Identity):
    """Asks it for every caller, whatever it knocks at: REST, sockets and the page's routes. Whatever it raises, nobody
    is let in."""

    challenge = "Bearer"

    def __init__(self, auth: Auth) -> None:
        """Raises InvalidValue: it wants what nobody has."""
        handler: Any = auth._authenticate_handler
        self._authenticate: Callable[..., Any] = handler
        self._waits = inspect.iscoroutinefunction(handler)
        """Otherwise it may keep whoever calls it from everything else."""
        parameters = inspect.signature(handler).parameters.values()
        self._wanted = [one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        unknown = [one.name for one in parameters if one.name in self._wanted and one.name not in GIVEN]
        missing = [name for name in unknown if handler_needs(handler, name)]
        if missing:
            raise InvalidValue(KEY, f"authenticate takes {missing[0]!r}; known are {', '.join(GIVEN)}")
        self._wanted = [name for name in self._wanted if name in GIVEN]
        self._told: set[str] = set()
        """What was left out of its users, and is in the log."""

    async def identify(self, caller: Caller) -> User:
        try:
            asked = partial(self._authenticate, **{name: GIVEN[name](caller) for name in self._wanted})
            found = asked() if self._waits else await asyncio.to_thread(asked)
            if inspect.isawaitable(found):
                found = await found
        except Auth.exceptions.HTTPException as error:
            if error.status_code == 403:
                raise NotAllowed(error.detail) from None
            raise Refused(error.detail) from None
        except Exception:
            log.exception("the project's authenticate failed")
            raise Refused("authentication failed") from None
        details = self._details(found)
        return User(details["identity"], details=details)

    def _details(self, found: Any) -> dict[str, Any]:
        """Plain JSON, since it goes on with the user's runs. Raises Refused: it names nobody."""
        try:
            details, left_out = said_of(found, most=MAX_DETAILS)
        except Exception:
            log.exception("what the project's authenticate returned cannot be read")
            raise Refused("authentication failed") from None
        for one in left_out:
            if one not in self._told and len(self._told) < MOST_TOLD:
                self._told.add(one)
                log.warning("the project's authenticate: left out of its users: %s", one)
        try:
            check_id("identity", str(details.get("identity") or ""))
        except InvalidValue as error:
            log.warning("the project's authenticate named nobody: %s", error)
            raise Refused("authentication failed") from None
        if len(msgspec.json.encode(details)) > MAX_DETAILS:
            log.warning("the project's authenticate said more than %d bytes of a user", MAX_DETAILS)
            raise Refused("authentication failed")
        return details | {"identity": str(details["identity"])}


def handler_needs(handler: Callable[..., Any], name: str) -> bool:
    parameter = inspect.signature(handler).parameters[name]
    return parameter.default is parameter.empty


def _authorization(caller: Caller) -> str | None:
    """A browser's socket cannot send the header: it offers `bearer.<token>` beside its subprotocol instead."""
    if "authorization" in caller.headers:
        return caller.headers["authorization"]
    for offered in caller.headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(TOKEN_PROTOCOL):
            return f"Bearer {offered.strip().removeprefix(TOKEN_PROTOCOL)}"
    return None


def _headers(caller: Caller) -> dict[bytes, bytes]:
    found = {name.encode("latin-1"): value.encode("latin-1") for name, value in caller.headers.items()}
    given = _authorization(caller)
    return found if given is None else found | {b"authorization": given.encode("latin-1")}


def _request(caller: Caller) -> SimpleNamespace:
    url = SimpleNamespace(path=caller.path, scheme=caller.scheme)
    headers = Headers({name.decode("latin-1"): value.decode("latin-1") for name, value in _headers(caller).items()})
    return SimpleNamespace(
        headers=headers,
        cookies=dict(_cookies(headers.get("cookie", ""))),
        query_params=dict(caller.query),
        path_params=_path_params(caller),
        method=caller.method,
        url=url,
    )


def _cookies(header: str) -> Iterator[tuple[str, str]]:
    """By hand, as `token_identity` has it: parsers give up at the first that they cannot read."""
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            yield name.strip(), value.strip(' "')


def _path_params(caller: Caller) -> dict[str, str]:
    named = pairwise(caller.path.split("/"))
    return {PLACES[place]: id_ for place, id_ in named if place in PLACES and id_ and id_ not in NOT_IDS}


GIVEN: Final[dict[str, Callable[[Caller], Any]]] = {
    "authorization": _authorization,
    "headers": _headers,
    "method": lambda caller: caller.method,
    "path": lambda caller: caller.path,
    "query_params": lambda caller: dict(caller.query),
    "path_params": _path_params,
    "request": _request,
}
"""What such a function may ask for, by its parameters' names."""
