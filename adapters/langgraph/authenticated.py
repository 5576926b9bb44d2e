"""A user whom a project's own `auth` has let in, as its code reads it: by key, and by attribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langgraph_sdk.auth.types import BaseUser

from unbroken.domain.session import SessionKey


class AuthenticatedUser(Mapping[str, Any]):
    """Satisfies LangGraph's `BaseUser`; whatever else its `authenticate` said of the user is there as well."""

    def __init__(self, details: Mapping[str, Any]) -> None:
        self._details = {"is_authenticated": True, "permissions": [], **details}
        self._details.setdefault("display_name", self._details["identity"])

    @property
    def identity(self) -> str:
        return str(self._details["identity"])

    @property
    def display_name(self) -> str:
        return str(self._details["display_name"])

    @property
    def is_authenticated(self) -> bool:
        return bool(self._details["is_authenticated"])

    @property
    def permissions(self) -> Sequence[str]:
        return list(self._details["permissions"] or ())

    def to_dict(self) -> dict[str, Any]:
        return dict(self._details)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_details"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: str) -> Any:
        return self._details[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._details)

    def __len__(self) -> int:
        return len(self._details)

    def __repr__(self) -> str:
        return f"AuthenticatedUser({self.identity!r})"


def configurable_of(details: Mapping[str, Any]) -> dict[str, Any]:
    """What nodes find of the user in their run's `configurable`."""
    user: BaseUser = AuthenticatedUser(details)
    return {
        "langgraph_auth_user": user,
        "langgraph_auth_user_id": user.identity,
        "langgraph_auth_permissions": list(user.permissions),
    }


def whose(key: SessionKey, user: Mapping[str, Any] | None) -> dict[str, Any]:
    """What nodes, and what makes a graph, find in `configurable` of whose state they are to see, whoever wants it."""
    ours = {"thread_id": key.thread_id, "user_id": key.user_id}
    return ours if user is None else ours | configurable_of(user)
