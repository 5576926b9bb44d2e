"""Decisions without I/O: what to do with a claim, and with an attempt that failed."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from unbroken.domain.errors import AnswerTooLong, TimedOut, TurnFailed
from unbroken.domain.events import TimerFired
from unbroken.domain.session import Claim


class Opening(Enum):
    """How a claimed event begins."""

    RUN = "run"
    SKIP = "skip"
    POISONED = "poisoned"


class CommitMode(Enum):
    """When an agent's state is committed inside a turn."""

    TURN = "turn"
    """Only at its end: a crash repeats the whole turn."""
    SUPERSTEP = "superstep"
    """After each superstep: a crash repeats only the superstep it hit."""


class RetryPolicy(Struct, frozen=True):
    max_tries: int = 3
    """Tries at one event, crashes included; after them it is a dead letter (I14)."""
    backoff_s: float = 0.5
    max_backoff_s: float = 30.0

    def delay_s(self, tries: int) -> float:
        """Pause before try `tries + 1`: doubles, bounded."""
        doublings = min(max(0, tries - 1), 60)  # beyond, a float overflows long after the bound is reached
        return float(min(self.max_backoff_s, self.backoff_s * 2**doublings))


def opening(claim: Claim, retry: RetryPolicy) -> Opening:
    """A fired timer that a user's message overtook ends unstarted; a spent event is never run again."""
    if isinstance(claim.event.body, TimerFired) and claim.superseded and claim.tries == 1:
        return Opening.SKIP
    if claim.tries > retry.max_tries:
        return Opening.POISONED
    return Opening.RUN


def repeats(failure: TurnFailed, claim: Claim, retry: RetryPolicy) -> bool:
    """Whether the same event is tried again: only what may pass by itself, and only while tries are left."""
    if isinstance(failure, TimedOut | AnswerTooLong):
        return False
    return failure.retryable and claim.tries < retry.max_tries
