from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from unbroken.domain.catalogue import Assistant, Preset


class Assistants(ABC):
    """Assistants that a user has created: a graph with presets, in versions of which one counts. Whose an id is
    depends on the user alone: two users may have each their own under the same one.

    All raise StoreUnavailable, and those that write CommitUnknown.
    """

    @abstractmethod
    async def create(self, user_id: str, assistant_id: str, preset: Preset) -> bool:
        """Version 1. False: the user has an assistant of that id, and nothing was changed. Raises TooMany,
        InvalidValue."""

    @abstractmethod
    async def get(self, user_id: str, assistant_id: str) -> Assistant:
        """The version that counts. Raises UnknownAssistant."""

    @abstractmethod
    async def list(self, user_id: str) -> Sequence[Assistant]:
        """Each in the version that counts, oldest first."""

    @abstractmethod
    async def add_version(self, user_id: str, assistant_id: str, preset: Preset) -> Assistant:
        """The next version, which counts from now on. Raises UnknownAssistant, TooMany, InvalidValue."""

    @abstractmethod
    async def versions(self, user_id: str, assistant_id: str) -> Sequence[Assistant]:
        """Newest first. Raises UnknownAssistant."""

    @abstractmethod
    async def set_latest(self, user_id: str, assistant_id: str, version: int) -> Assistant:
        """Let an earlier version count. Raises UnknownAssistant, also for a version that it does not have."""

    @abstractmethod
    async def delete(self, user_id: str, assistant_id: str) -> None:
        """With all its versions. Raises UnknownAssistant."""
