"""The story that is made of what is known: in order, with lengths, and nothing made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from unbroken.domain.audit import (
    AttemptNote,
    CheckpointFact,
    EffectFact,
    EventFacts,
    sampled,
    story,
    trace_id,
    with_checkpoints,
)
from unbroken.domain.effects import EffectStatus

START = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def at(ms: int) -> datetime:
    return START + timedelta(milliseconds=ms)


def event(**changed: Any) -> EventFacts:
    fields: dict[str, Any] = {
        "seq": 1,
        "id": "e",
        "request_id": "r",
        "type": "user_message",
        "received_at": at(0),
        "accepted_at": at(5),
        "trace_context": {},
    }
    return EventFacts(**(fields | changed))


def effect(type_: str = "send_message", **changed: Any) -> EffectFact:
    fields: dict[str, Any] = {
        "id": "f",
        "ordinal": 0,
        "type": type_,
        "log_index": 1,
        "status": EffectStatus.COMPLETED,
        "created_at": at(900),
        "updated_at": at(900),
        "checkpoint_id": "c2",
        "base_id": "",
        "sent_at": at(950),
        "acked_at": at(2950),
    }
    return EffectFact(**(fields | changed))


def lines(facts: EventFacts) -> list[tuple[str, int | None]]:
    return [(entry.kind, entry.ms) for entry in story(facts).entries]


def test_a_clean_turn_is_told_stage_by_stage() -> None:
    notes = (AttemptNote(4, at(5), 1, "accepted"),)
    turn = story(event(run=4, attempts=notes, effects=(effect(),)))
    assert (turn.state, turn.attempts) == ("answered", 1)
    assert [(entry.kind, entry.ms) for entry in turn.entries] == [
        ("received", None),
        ("accepted", 5),
        ("attempt", 0),
        ("committed", 895),
        ("effect", None),
        ("delivered", 50),
        ("acknowledged", 2000),
    ]


def test_a_second_attempt_stands_behind_the_lost_one_with_what_each_has_made() -> None:
    notes = (AttemptNote(4, at(5), 1, "accepted"), AttemptNote(5, at(405), 2, "lease_expired", None, "c1"))
    rows = [
        CheckpointFact("", id_, parent, at(100), 1, "loop") for id_, parent in (("c1", None), ("c2", "c1"), ("x", "c0"))
    ]
    facts = with_checkpoints(event(run=5, attempts=notes, effects=(effect(),), base_id="", head_id="c2"), rows)
    entries = story(facts).entries
    assert [(entry.kind, entry.attempt, entry.lost) for entry in entries[2:6]] == [
        ("attempt", 4, True),
        ("checkpoint", 4, False),
        ("attempt", 5, False),
        ("checkpoint", 5, False),
    ]
    assert (entries[4].ms, entries[4].why) == (400, "lease_expired")


def test_a_cancel_stands_where_it_came() -> None:
    notes = (AttemptNote(1, at(5), 1, "accepted"), AttemptNote(2, at(505), 1, "again"))
    early = event(run=2, attempts=notes, cancelled_at=at(100), effects=(effect("cancel_turn"),))
    assert [kind for kind, _ in lines(early)][2:5] == ["attempt", "cancel", "attempt"]
    late = event(run=2, attempts=notes, cancelled_at=at(600), effects=(effect("cancel_turn"),))
    assert [kind for kind, _ in lines(late)][2:6] == ["attempt", "attempt", "cancel", "committed"]
    assert story(late).state == "cancelled"
    mended = CheckpointFact("", "c1", None, at(700), 0, "update", None, 2)
    kinds = [kind for kind, _ in lines(replace(late, checkpoints=(mended,)))]
    assert kinds[2:7] == ["attempt", "attempt", "cancel", "checkpoint", "committed"]


@pytest.mark.parametrize(("code", "state"), [(None, "skipped"), ("cancelled", "cancelled"), ("model_failed", "failed")])
def test_what_ended_unsaid_says_here_how(code: str | None, state: str) -> None:
    assert story(event(effects=(replace(effect("skip_event"), code=code),))).state == state


def test_what_was_not_stored_is_shown_as_unknown() -> None:
    old = story(event(received_at=None, run=7, effects=(effect(sent_at=None, acked_at=None),)))
    assert old.attempts is None
    assert [(entry.kind, entry.at, entry.ms) for entry in old.entries] == [
        ("received", None, None),
        ("accepted", at(5), None),
        ("attempt", None, None),
        ("committed", at(900), None),
        ("effect", at(900), None),
        ("delivered", None, None),
        ("acknowledged", None, None),
    ]


def test_a_delivery_that_was_marked_after_its_acknowledgement_has_no_known_moment() -> None:
    """The mark of it was lost with its process; that of a later entry covers it."""
    turn = story(event(effects=(effect(sent_at=at(9000), acked_at=at(2950)),)))
    assert [(entry.kind, entry.at, entry.ms) for entry in turn.entries[-2:]] == [
        ("delivered", None, None),
        ("acknowledged", at(2950), None),
    ]


def test_what_has_not_happened_is_not_told() -> None:
    waiting = event(effects=(effect(status=EffectStatus.PENDING, sent_at=None, acked_at=None),))
    assert [kind for kind, _ in lines(waiting)] == ["received", "accepted", "committed", "effect"]
    assert [kind for kind, _ in lines(event())] == ["received", "accepted"]
    assert story(event()).state == "waiting"
    assert story(event(run=1, tries=1), running=True).state == "running"


def test_attempts_that_nobody_noted_are_counted() -> None:
    turn = story(event(run=9, tries=3, attempts=(AttemptNote(9, at(50), 1, "again"),)), running=True)
    assert turn.attempts == 3
    assert [(entry.attempt, entry.at, entry.lost) for entry in turn.entries if entry.kind == "attempt"] == [
        (7, None, True),
        (8, None, True),
        (9, at(50), False),
    ]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("00-" + "a1" * 16 + "-" + "b" * 16 + "-01", "a1" * 16),
        ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", None),
        ("00-" + "a" * 31 + "-" + "b" * 16 + "-01", None),
        ("00-" + "G" * 32 + "-" + "b" * 16 + "-01", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_only_a_w3c_traceparent_names_a_trace(header: str, expected: str | None) -> None:
    assert trace_id({"traceparent": header}) == expected
    assert trace_id({}) is None


@pytest.mark.parametrize(
    ("flags", "expected"), [("01", True), ("00", False), ("03", True), ("fe", False), ("", False), ("1", False)]
)
def test_a_trace_that_was_not_sampled_is_nowhere_to_be_looked_at(flags: str, expected: bool) -> None:
    context = {"traceparent": f"00-{'a1' * 16}-{'b' * 16}-{flags}"}
    assert sampled(context) == story(event(trace_context=context)).sampled == expected
    assert not sampled({"traceparent": f"00-{'0' * 32}-{'b' * 16}-01"})


def test_lengths_are_never_negative_and_checkpoints_that_go_round_end() -> None:
    """Clocks are set back, and rows of others may say anything."""
    facts = event(received_at=at(9), accepted_at=at(5), base_id="", head_id="c2")
    assert lines(facts)[1] == ("accepted", 0)
    rows = [CheckpointFact("", one, other, at(1), 1, "loop") for one, other in (("c1", "c2"), ("c2", "c1"))]
    assert [row.checkpoint_id for row in with_checkpoints(facts, rows).checkpoints] == ["c1", "c2"]
