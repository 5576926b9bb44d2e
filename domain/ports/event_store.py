from __future__ import annotations

from abc import ABC, abstractmethod

from msgspec import Struct

from unbroken.domain.events import Event, NewEvent, WhenBusy
from unbroken.domain.session import Claim, SessionKey


class Receipt(Struct, frozen=True):
    event: Event
    duplicate: bool
    """This request id was accepted before, with the same body; `event` is that one."""
    claim: Claim | None
    """Set when the session was idle, and the caller's replica owned it or is alive: it owns it now, and this attempt
    is counted."""


class EventStore(ABC):
    """Durable, gap-free, idempotent acceptance: when `accept` returns, the event survives anything."""

    @abstractmethod
    async def accept(
        self,
        key: SessionKey,
        new: NewEvent,
        *,
        replica: int,
        queue_limit: int,
        when_busy: WhenBusy = WhenBusy.ENQUEUE,
    ) -> Receipt:
        """Store one event in one transaction and one round trip.

        In that transaction: the thread's user and agent are compared (a new thread is bound to `key` forever),
        `seq` is allocated, a user's event cancels the session's pending timers, and a session with nothing else
        waiting is claimed for `replica` with its attempt counted (the epoch grows unless it owned it already; who does
        not own it must be alive: everybody who is would take it away at once, and the attempt were lost). Such a
        claim's head is "", not None, where the thread has no checkpoint: its turn need not look for one to adopt.
        A session that is not claimed is left alone and marked, so that `Sessions.strays` will find it; the caller
        must hint its owner afterwards; INTERRUPT and ROLLBACK mark every unfinished earlier event as cancelled.
        A `TimerFired` marks its timer as fired, last.

        The same request id again gives the same event and `duplicate`, whatever else has happened since.
        Racing twins leave no gap (I2, I3).

        Raises NotYourThread, ThreadDeleted, BodyConflict, TimerGone, QueueFull (at `queue_limit` unfinished
        events; a duplicate is never refused), Busy (REJECT, and the session is not idle), StoreUnavailable, or
        CommitUnknown: it may be stored, and whoever asks again with the same request id learns.
        """
