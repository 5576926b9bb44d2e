"""A project's own rules: the handlers that its `auth.path` has for what is read, searched, made and changed."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from langgraph_sdk import Auth

from unbroken.adapters.langgraph.authenticated import AuthenticatedUser
from unbroken.domain.catalogue import ANY, Metadata, Where, both
from unbroken.domain.ports.identity import User
from unbroken.entrypoints.langgraph_api.permissions import ON_STORE, SHARED
from unbroken.entrypoints.web.rest import Problem

log = logging.getLogger(__name__)

MOST_ALTERNATIVES: Final = 64
"""Of one filter, once its `$or` are multiplied out."""
FORBIDDEN: Final = HTTPStatus.FORBIDDEN
IDS: Final = ("assistant_id", "thread_id", "run_id")
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class ProjectRules:
    """`Permissions` of one project. The most specific handler decides, alone; without any, what is the user's own is
    the user's to use. Whatever a handler raises, nothing is allowed. The long-term memory is nobody's own: it takes a
    handler, and one that keeps users apart by what items have no metadata for keeps nobody apart."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def __call__(self, user: User, resource: str, action: str, value: dict[str, Any]) -> Where:
        handler = self._handler(resource, action)
        if handler is None:
            if resource == ON_STORE:
                raise Problem(FORBIDDEN, "shared", SHARED)
            return ANY
        who = AuthenticatedUser(user.details or {"identity": user.id})
        named = _with_ids(value)
        context = Auth.types.AuthContext(permissions=who.permissions, user=who, resource=resource, action=action)  # type: ignore[arg-type]
        try:
            verdict = await handler(ctx=context, value=value)
            value.update((name, id_) for name, id_ in named.items() if str(value.get(name)) == str(UUID(id_)))
        except Auth.exceptions.HTTPException as error:
            raise Problem(_status(error.status_code), "not_allowed", error.detail) from None
        except AssertionError as error:
            raise Problem(FORBIDDEN, "not_allowed", str(error) or "Forbidden") from None
        except Exception as error:
            log.exception("the project's rule for %s.%s failed", resource, action)
            raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "rule_failed", "a rule of the project failed") from error
        if verdict is None or verdict is True:
            return ANY
        if verdict is False:
            raise Problem(FORBIDDEN, "not_allowed", "Forbidden")
        where = _where(verdict, resource, action)
        if resource == ON_STORE and where != ANY:
            raise Problem(FORBIDDEN, "shared", SHARED)
        return where

    def _handler(self, resource: str, action: str) -> Any:
        handlers = self._auth._handlers
        for key in ((resource, action), (resource, "*"), ("*", action)):
            if handlers.get(key):
                return handlers[key][-1]
        return self._auth._global_handlers[-1] if self._auth._global_handlers else None


def _with_ids(value: dict[str, Any]) -> dict[str, str]:
    """To the rules, ids are `UUID`s where they are such, as with LangGraph's server: who compares them must not compare
    in vain. Returns what they were."""
    named = {name: value[name] for name in IDS if isinstance(value.get(name), str) and _UUID.fullmatch(value[name])}
    value.update((name, UUID(id_)) for name, id_ in named.items())
    return named


def _status(code: int) -> HTTPStatus:
    """A refusal is one, whatever its number says."""
    return HTTPStatus(code) if code >= 400 and any(code == one for one in HTTPStatus) else FORBIDDEN


def _where(verdict: Any, resource: str, action: str) -> Where:
    try:
        where = filter_of(verdict)
    except (TypeError, ValueError) as error:
        log.error("the project's rule for %s.%s gave no filter: %s", resource, action, error)
        raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "rule_failed", "a rule of the project failed") from None
    return where


def filter_of(verdict: Any) -> Where:
    """LangGraph's filters: `{"owner": "ann"}`, `{"owner": {"$eq": …}}`, `{"members": {"$contains": …}}`, and `$or` and
    `$and` with lists of such. Raises TypeError, ValueError."""
    if not isinstance(verdict, Mapping):
        raise TypeError(f"{type(verdict).__name__} is no filter")
    where: Where = ANY
    for name, wanted in verdict.items():
        if name == "$or":
            alternatives = tuple(one for part in wanted for one in filter_of(part))
            where = both(where, alternatives)
        elif name == "$and":
            for part in wanted:
                where = both(where, filter_of(part))
        elif str(name).startswith("$"):
            raise ValueError(f"{name} is not known")
        else:
            where = both(where, ((_pattern(str(name), wanted),),))
        if len(where) > MOST_ALTERNATIVES:
            raise ValueError(f"it has more than {MOST_ALTERNATIVES} alternatives")
    return where


def _pattern(name: str, wanted: Any) -> Metadata:
    if isinstance(wanted, Mapping):
        ((operator, operand),) = wanted.items()
        if operator == "$contains":
            return {name: list(operand) if isinstance(operand, list | tuple | set) else [operand]}
        if operator != "$eq":
            raise ValueError(f"{operator} is neither $eq nor $contains")
        wanted = operand
    return {name: wanted}
