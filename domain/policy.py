"""Decisions without I/O: what to do with a claim, with an attempt that failed, and with the agent's questions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Final

from msgspec import Struct

from unbroken.domain.effects import (
    CANCELLED,
    CancelTurn,
    CloseQuestion,
    EffectBody,
    ReportFailure,
    RequestInput,
    SendMessage,
    SkipEvent,
)
from unbroken.domain.errors import AnswerTooLong, BranchGone, QuestionClosed, TimedOut, TurnFailed
from unbroken.domain.events import EventBody, InputResponse, RunStart, TimerFired
from unbroken.domain.session import Claim
from unbroken.domain.turn import Question

MOST_DIGITS: Final = 15
"""Of an event's number in a question's id."""


class Opening(Enum):
    """How a claimed event begins."""

    RUN = "run"
    SKIP = "skip"
    CANCELLED = "cancelled"
    QUESTION_CLOSED = "question_closed"
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
    """A fired timer that a user's message overtook ends unstarted, and so does an answer to a question that is not
    open; a spent event is never run again."""
    body = claim.event.body
    if isinstance(body, TimerFired) and claim.superseded and claim.begins:
        return Opening.SKIP
    if claim.cancel is not None:
        return Opening.CANCELLED
    if isinstance(body, InputResponse) and body.interrupt_id not in claim.open_questions:
        return Opening.QUESTION_CLOSED
    if claim.tries > retry.max_tries:
        return Opening.POISONED
    return Opening.RUN


def repeats(failure: TurnFailed, claim: Claim, retry: RetryPolicy) -> bool:
    """Whether the same event is tried again: only what may pass by itself, and only while tries are left."""
    if isinstance(failure, TimedOut | AnswerTooLong | QuestionClosed | BranchGone):
        return False
    return failure.retryable and claim.tries < retry.max_tries


def keeps_history(failure: TurnFailed, *, shown: bool, committed: bool) -> bool:
    """Whether a failed event stays in the agent's state, its history mended.

    Not if nothing came of it: what a provider refuses once it refuses in every later turn too, and the thread would
    be stuck.
    """
    return not isinstance(failure, QuestionClosed | BranchGone) and (shown or committed)


def unsaid(end: EffectBody) -> EffectBody:
    """What an event that nobody said ends with, in the place of what a message would: nothing of it is in the log,
    where clients would be told the end of something that they never saw begin."""
    match end:
        case SendMessage(waiting=waiting):
            return SkipEvent("the state was changed", stands=waiting)
        case CancelTurn():
            return SkipEvent("it was cancelled", CANCELLED)
        case ReportFailure(code=code, message=message):
            return SkipEvent(message, code)
        case _:
            return end


class Questions(Struct, frozen=True):
    """What a turn's end does to the questions of its session."""

    closed: tuple[CloseQuestion, ...] = ()
    asked: tuple[RequestInput, ...] = ()
    open: tuple[str, ...] = ()
    """Interrupt ids that wait for an answer now."""


def question_id(own_id: str, seq: int) -> str:
    """The id by which clients know a question: an agent asks again under an id that it has used before."""
    return f"{own_id}:{seq}"


def own_question_id(interrupt_id: str) -> str:
    """The agent's id of a question that clients know by `interrupt_id`."""
    return interrupt_id.rpartition(":")[0]


def asking_seq(interrupt_id: str) -> int:
    """Of the event that asked what clients know by `interrupt_id`; 0: it is no such id."""
    digits = interrupt_id.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= MOST_DIGITS else 0


def questions_after(claim: Claim, pending: Sequence[Question]) -> Questions:
    """After an answer, with what is `pending` in the agent's state now: an answered question is closed, one that an
    answer to another left open stays, everything else that was open is superseded."""
    answered = answered_by(claim.event.body, claim.open_questions)
    left = [id_ for id_ in claim.open_questions if id_ not in answered] if answered else []
    own = {own_question_id(id_): id_ for id_ in left}
    still = {own[question.interrupt_id] for question in pending if question.interrupt_id in own}
    asked = tuple(
        RequestInput(question_id(question.interrupt_id, claim.event.seq), question.value)
        for question in pending
        if question.interrupt_id not in own
    )
    kept = tuple(id_ for id_ in claim.open_questions if id_ in still)
    return Questions(_closed(claim, still, answered), asked, (*kept, *(question.interrupt_id for question in asked)))


def questions_settled(claim: Claim, *, cancelled: bool) -> Questions:
    """After an attempt whose history was mended: nothing is pending any more."""
    if cancelled:
        return Questions(tuple(CloseQuestion(id_, "cancelled") for id_ in claim.open_questions))
    return Questions(_closed(claim, (), answered_by(claim.event.body, claim.open_questions)))


def answered_by(body: EventBody, open_questions: Sequence[str]) -> frozenset[str]:
    """Which of the open questions the event answers. A run's `resume` is one answer to all of them, or a mapping from
    the questions' ids, the agent's own or ours, to the answers. A mapping that names none of them is one answer, too,
    if the agent takes it: it refuses one that names questions which are not open."""
    if isinstance(body, InputResponse):
        return frozenset({body.interrupt_id})
    if not isinstance(body, RunStart) or body.resume is None:
        return frozenset()
    if isinstance(body.resume, dict):
        named = frozenset(id_ for id_ in open_questions if id_ in body.resume or own_question_id(id_) in body.resume)
        if named:
            return named
    return frozenset(open_questions)


def _closed(claim: Claim, still: Collection[str], answered: Collection[str]) -> tuple[CloseQuestion, ...]:
    return tuple(
        CloseQuestion(id_, "answered" if id_ in answered else "superseded")
        for id_ in claim.open_questions
        if id_ not in still
    )
