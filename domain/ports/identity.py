from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from msgspec import Struct


class Caller(Struct, frozen=True):
    """What a transport knows of whoever knocks; header names in lower case."""

    host: str
    """The peer's address."""
    headers: Mapping[str, str]
    query: Mapping[str, str]
    scheme: str


class Identity(ABC):
    """Who is calling. A frame's content never decides it."""

    @abstractmethod
    def user_of(self, caller: Caller) -> str:
        """The user's id. Raises Refused: not authenticated, or not from where callers may come."""
