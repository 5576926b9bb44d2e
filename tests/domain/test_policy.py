"""Decisions about a claim and about an attempt that failed (I14)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.domain.effects import CloseQuestion, RequestInput
from unbroken.domain.errors import (
    AgentRaised,
    AnswerTooLong,
    BranchGone,
    CancelKind,
    QuestionClosed,
    TimedOut,
    TurnFailed,
)
from unbroken.domain.events import Event, EventBody, InputResponse, RunStart, TimerFired, UserMessage
from unbroken.domain.policy import (
    Opening,
    RetryPolicy,
    answered_by,
    keeps_history,
    opening,
    questions_after,
    questions_settled,
    repeats,
)
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.turn import Question

RETRY = RetryPolicy(max_tries=3, backoff_s=0.5, max_backoff_s=30.0)
SAID = UserMessage("hi")
FIRED = TimerFired("t", 1)


def claim_of(
    body: EventBody = SAID,
    *,
    tries: int = 1,
    superseded: bool = False,
    seq: int = 4,
    head_event: int = 3,
    cancel: CancelKind | None = None,
    open_questions: tuple[str, ...] = ("q:3",),
) -> Claim:
    event = Event(seq, f"e{seq}", f"r{seq}", body, datetime(2026, 1, 1, tzinfo=UTC))
    return Claim(
        key=SessionKey("u", "a", "t"),
        owner=1,
        epoch=1,
        event=event,
        run=9,
        tries=tries,
        head=None,
        base_head=None,
        head_event=head_event,
        log_index=0,
        superseded=superseded,
        cancel=cancel,
        open_questions=open_questions,
    )


@pytest.mark.parametrize(
    ("body", "tries", "superseded", "expected"),
    [
        (SAID, 1, False, Opening.RUN),
        (SAID, 1, True, Opening.RUN),
        (InputResponse("q:3", 1), 1, True, Opening.RUN),
        (InputResponse("q:2", 1), 1, False, Opening.QUESTION_CLOSED),
        (FIRED, 1, False, Opening.RUN),
        (FIRED, 1, True, Opening.SKIP),
        (FIRED, 2, True, Opening.RUN),
        (SAID, 3, False, Opening.RUN),
        (SAID, 4, False, Opening.POISONED),
        (FIRED, 4, True, Opening.POISONED),
    ],
)
def test_how_an_event_begins(body: EventBody, tries: int, superseded: bool, expected: Opening) -> None:
    assert opening(claim_of(body, tries=tries, superseded=superseded), RETRY) is expected


@pytest.mark.parametrize(
    ("failure", "tries", "again"),
    [
        (AgentRaised("overloaded", retryable=True), 1, True),
        (AgentRaised("overloaded", retryable=True), 2, True),
        (AgentRaised("overloaded", retryable=True), 3, False),
        (AgentRaised("broken"), 1, False),
        (TimedOut("late", retryable=True), 1, False),
        (AnswerTooLong("long", retryable=True), 1, False),
    ],
)
def test_only_what_may_pass_is_tried_again_while_tries_are_left(failure: TurnFailed, tries: int, again: bool) -> None:
    assert repeats(failure, claim_of(tries=tries), RETRY) is again


@given(st.integers(1, 30))
def test_a_retryable_failure_is_tried_exactly_as_often_as_the_policy_says(max_tries: int) -> None:
    retry, tries = RetryPolicy(max_tries=max_tries), 1
    while repeats(AgentRaised("again", retryable=True), claim_of(tries=tries), retry):
        tries += 1
    assert tries == max_tries
    assert opening(claim_of(tries=tries), retry) is Opening.RUN


@given(st.integers(0, 10**9))
def test_pauses_double_from_the_first_and_never_pass_their_bound(tries: int) -> None:
    assert RETRY.delay_s(tries) == (0.5 * 2 ** max(0, tries - 1) if tries < 7 else 30.0)


@pytest.mark.parametrize(("head_event", "resumes"), [(0, False), (3, False), (4, True)])
def test_an_event_is_resumed_only_on_a_head_that_it_wrote_itself(head_event: int, resumes: bool) -> None:
    claim = claim_of(seq=4, head_event=head_event)
    assert (claim.applied_seq, claim.resumes) == (3, resumes)


@pytest.mark.parametrize("tries", [1, 4])
@pytest.mark.parametrize("body", [SAID, FIRED, InputResponse("q:2", 1)])
def test_a_cancelled_event_is_run_no_more_whatever_it_is(body: EventBody, tries: int) -> None:
    assert opening(claim_of(body, tries=tries, cancel="cancel"), RETRY) is Opening.CANCELLED


@pytest.mark.parametrize(
    ("failure", "shown", "committed", "kept"),
    [
        (AgentRaised("bad request"), False, False, False),
        (AgentRaised("bad request"), True, False, True),
        (AgentRaised("bad request"), False, True, True),
        (AgentRaised("overloaded", retryable=True), False, False, False),
        (TimedOut("late", retryable=True), True, False, True),
        (QuestionClosed("closed"), True, True, False),
        (BranchGone("gone"), True, True, False),
    ],
)
def test_what_a_failed_event_leaves_in_the_conversation(
    failure: TurnFailed, shown: bool, committed: bool, kept: bool
) -> None:
    assert keeps_history(failure, shown=shown, committed=committed) is kept


def test_an_answer_to_one_of_two_questions_leaves_the_other_open() -> None:
    claim = claim_of(InputResponse("a:3", "yes"), open_questions=("a:3", "b:3"))
    found = questions_after(claim, [Question("b", "and this?")])
    assert found.closed == (CloseQuestion("a:3", "answered"),)
    assert (found.asked, found.open) == ((), ("b:3",))


def test_a_question_asked_again_under_its_old_id_is_another_question() -> None:
    claim = claim_of(InputResponse("a:3", "yes"), open_questions=("a:3",))
    found = questions_after(claim, [Question("a", "really?")])
    assert found.closed == (CloseQuestion("a:3", "answered"),)
    assert found.asked == (RequestInput("a:4", "really?"),)
    assert found.open == ("a:4",)


def test_a_message_supersedes_every_open_question() -> None:
    found = questions_after(claim_of(open_questions=("a:2", "b:3")), [Question("a", "again?")])
    assert found.closed == (CloseQuestion("a:2", "superseded"), CloseQuestion("b:3", "superseded"))
    assert (found.asked, found.open) == ((RequestInput("a:4", "again?"),), ("a:4",))


def test_a_mended_history_waits_for_nothing() -> None:
    claim = claim_of(InputResponse("a:3", "yes"), open_questions=("a:3", "b:3"))
    cancelled = questions_settled(claim, cancelled=True)
    assert cancelled.closed == (CloseQuestion("a:3", "cancelled"), CloseQuestion("b:3", "cancelled"))
    failed = questions_settled(claim, cancelled=False)
    assert failed.closed == (CloseQuestion("a:3", "answered"), CloseQuestion("b:3", "superseded"))
    assert cancelled.open == failed.open == ()


@pytest.mark.parametrize(
    ("resume", "answered"),
    [
        (True, {"a:3", "b:3"}),
        ({"x": 1}, {"a:3", "b:3"}),
        ({"a": 1}, {"a:3"}),
        ({"b:3": 1}, {"b:3"}),
        ({"a": 1, "b": 2}, {"a:3", "b:3"}),
        (None, set()),
    ],
)
def test_a_run_s_resume_answers_what_it_names_or_everything(resume: Any, answered: set[str]) -> None:
    assert answered_by(RunStart(command={"resume": resume}), ("a:3", "b:3")) == answered
