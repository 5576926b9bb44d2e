from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import inf
from typing import Any

from msgspec import Struct


class Caller(Struct, frozen=True):
    """What a transport knows of whoever knocks; header names in lower case."""

    host: str
    """The peer's address, as the socket says it; empty: unknown."""
    headers: Mapping[str, str]
    """A header that came several times is joined by commas."""
    query: Mapping[str, str]
    scheme: str
    method: str = "GET"
    path: str = "/"


Details = Mapping[str, Any]
"""All that a project's own `auth` said of a user, its `identity` among it; plain JSON."""


class User(Struct, frozen=True):
    """Somebody whose word for it was checked."""

    id: str
    until: float = inf
    """Seconds since 1970 at which the caller has to prove again who it is."""
    details: Details | None = None
    """For a project's graphs and its rules. None: nobody asked its `auth`."""


class Identity(ABC):
    """Who is calling. A frame's content never decides it."""

    challenge: str = ""
    """Value of `WWW-Authenticate` for whoever is not let in; empty: there is nothing to answer to."""

    @abstractmethod
    async def identify(self, caller: Caller) -> User:
        """Raises NotAllowed: known, and not let in; Refused: not authenticated. What they say may be shown, and holds
        no secret."""
