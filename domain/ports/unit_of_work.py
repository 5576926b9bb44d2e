from __future__ import annotations

from abc import ABC, abstractmethod

from unbroken.domain.turn import Committed, TurnChange


class UnitOfWork(ABC):
    """A turn's transaction: checkpoint rows, heads, effects, log and applied mark become visible together, or
    not at all (I4), and only under the claim's owner, epoch and event (I5)."""

    @abstractmethod
    async def commit(self, change: TurnChange) -> Committed:
        """Commit one superstep, or the end of the event.

        The fence is the first statement: owner, boot, epoch and `applied_seq == event.seq - 1` must still stand.
        A finishing commit also numbers the effects that clients see, moves `applied_seq`, sets every head's
        base to the head, and counts the attempt of the next waiting event if there is one.
        A superstep commit sets the head's event to this one; the base stays.

        Cancelling the caller means all or nothing, never half. Raises Fenced (nothing was written),
        CancelRequested (nothing was written: a finish, without `cancels`, of an event whose cancel was accepted),
        StoreUnavailable (nothing was written), or CommitUnknown (read under a new claim).
        """
