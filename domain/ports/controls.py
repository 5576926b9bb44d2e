from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec import Struct

from unbroken.domain.errors import CancelKind
from unbroken.domain.session import SessionKey


class Mark(Struct, frozen=True):
    """A cancel that was accepted."""

    thread_id: str
    seq: int
    """Of the event to stop."""
    kind: CancelKind


class Controls(ABC):
    """Orders that must not wait in the queue they are about: durable, idempotent marks without a `seq`.

    The finishing commit of the marked event decides between its end and the cancel (`UnitOfWork.commit`).
    """

    @abstractmethod
    async def cancel(self, key: SessionKey, request_id: str, kind: CancelKind = "cancel") -> Mark:
        """Mark an unfinished event as cancelled; again is the same, whatever its kind. When this returns, it can end
        only as cancelled or failed.

        Raises UnknownRequest, AlreadyEnded, NotYourThread, ThreadDeleted, StoreUnavailable, or CommitUnknown.
        """

    @abstractmethod
    async def marked(self, *, replica: int) -> Sequence[Mark]:
        """Marks of the events that `replica` works on now. Raises StoreUnavailable."""
