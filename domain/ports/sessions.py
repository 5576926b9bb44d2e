from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from unbroken.domain.session import Claim, Position, SessionView, Strays
from unbroken.domain.turn import Fork


class Sessions(ABC):
    """Who works on what: at most one live claim a session, every attempt counted before it runs (I14)."""

    @abstractmethod
    async def claim(self, thread_id: str, *, replica: int, because: str | None = None) -> Claim | None:
        """Count the next attempt at the session's first unfinished event, and take the session for `replica`.
        `because`: what ended this replica's own attempt before it, for people's eyes.

        None: nothing waits, another live replica owns it, or `replica` is not alive itself: after an outage every
        lease is over, and replicas must not take each other's sessions. The epoch grows whenever the owner changes,
        and also when `replica` claims from itself an attempt it has lost sight of. One of N racing claimers wins.
        Raises StoreUnavailable or CommitUnknown.
        """

    @abstractmethod
    async def release(self, claim: Claim) -> bool:
        """Give the session back: its attempt is over, whoever is alive may take it at once, and the try is not held
        against the message (`Claim.handed_over`); `run` never goes back. What the attempt committed stays.

        False: the claim is no longer the right to the session (its event has ended, or somebody else has it), and
        nothing was changed. Raises StoreUnavailable or CommitUnknown.
        """

    @abstractmethod
    async def release_thread(self, thread_id: str, *, replica: int) -> bool:
        """Give a session back in which no attempt of `replica` is under way. What was counted stays counted. False: it
        is not `replica`'s. Raises StoreUnavailable or CommitUnknown."""

    @abstractmethod
    async def view(self, thread_id: str) -> SessionView | None:
        """One consistent snapshot. None: the thread does not exist yet. Raises ThreadDeleted, which
        says whose it was, StoreUnavailable."""

    @abstractmethod
    async def before(self, thread_id: str, request_id: str) -> Fork | None:
        """The heads as they were before that request's event ran; of a message that replaced another, before that
        one. None: no such event, it has not ended, or its checkpoint was pruned. Raises StoreUnavailable."""

    @abstractmethod
    async def strays(self, *, replica: int, limit: int) -> Strays:
        """Threads with unfinished events that `replica` may claim, and its place among those that may as well.

        Best effort and cheap while nothing is wrong: one query over small partial indexes. Sessions that
        `replica` is running right now are included; the caller knows them. Raises StoreUnavailable.
        """

    @abstractmethod
    async def behind(self, known: Mapping[str, Position]) -> Sequence[str]:
        """Of these threads, those in which more was accepted, counted, ended or logged than is `known`; deleted ones,
        and ones that do not exist, are not among them. Raises StoreUnavailable."""

    @abstractmethod
    async def alone(self, *, replica: int) -> int | None:
        """None: another replica may be at work, whether its lease holds or not. Otherwise a number that changes with
        each replica that joins: while it is the same as at an earlier look, nobody but `replica` has counted, ended or
        logged anything since that look. Raises StoreUnavailable."""

    @abstractmethod
    async def standing(self, *, replica: int) -> Mapping[str, int]:
        """Thread → run of each attempt that was counted for `replica`, whose event has not ended, and which nobody has
        taken over or repeated. Any other attempt that `replica` works on is fenced: a run is counted once, for one
        owner. Deleted threads are not among them. Raises StoreUnavailable."""
