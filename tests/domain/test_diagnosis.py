"""What counts as stuck, and what a person is told to do about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from unbroken.domain.diagnosis import DueTimer, OwedEffect, StoreFacts, UnfinishedEvent, diagnose
from unbroken.domain.session import SessionKey

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
KEY = SessionKey("ann", "demo", "t")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def event(**changed: Any) -> UnfinishedEvent:
    """One whose first attempt runs at a live replica."""
    fields: dict[str, Any] = {
        "key": KEY,
        "seq": 3,
        "request_id": "r",
        "accepted_at": ago(60),
        "waiting": 1,
        "tries": 1,
        "run": 5,
        "attempt_at": ago(60),
        "why": "accepted",
        "because": None,
        "cancelled_at": None,
        "owner": "host:8000",
        "lease_until": ago(-5),
    }
    return UnfinishedEvent(**(fields | changed))


def findings(one: UnfinishedEvent, *, alive: int = 1) -> list[tuple[str, int, str, str]]:
    found = diagnose(StoreFacts(NOW, alive, unfinished=(one,)), turn_limit_s=600)
    return [(finding.what, finding.seconds, finding.details, finding.advice) for finding in found]


def test_an_attempt_that_runs_within_its_limit_is_not_stuck() -> None:
    assert findings(event()) == []
    assert findings(event(cancelled_at=ago(5))) == []
    assert findings(event(attempt_at=None)) == []


@pytest.mark.parametrize(
    ("changed", "what", "seconds", "words", "advice"),
    [
        (
            {"owner": None, "lease_until": None},
            "nobody works on a message",
            60,
            "has left, or was started",
            "ask their",
        ),
        ({"lease_until": ago(30)}, "nobody works on a message", 60, "lease of host:8000 ended at", "/health/ready"),
        ({"cancelled_at": ago(15)}, "a cancel is not carried out", 15, "runs at host:8000", "restart host:8000"),
        ({"tries": 0, "attempt_at": None}, "a message waits at a live replica", 60, "not begun", "CONCURRENT_TURNS"),
        ({"attempt_at": ago(700)}, "an attempt outlives its limit", 700, "attempt 5", "TURN_LIMIT_S"),
        (
            {"tries": 2, "why": "again", "because": "model_failed"},
            "a message is tried again",
            60,
            "try 2, attempt 5, runs at host:8000; the one before ended: model_failed",
            "MAX_TRIES",
        ),
        ({"tries": 3, "why": "owner_gone"}, "a message is tried again", 60, "lost with its process", "log"),
    ],
)
def test_each_way_of_being_stuck_has_its_words(
    changed: dict[str, Any], what: str, seconds: int, words: str, advice: str
) -> None:
    (found,) = findings(event(**changed))
    assert found[:2] == (what, seconds)
    assert words in found[2]
    assert "event 3 (request r)" in found[2]
    assert advice in found[3]


def test_without_any_replica_one_is_to_be_started() -> None:
    ((_, _, _, advice),) = findings(event(lease_until=ago(30)), alive=0)
    assert advice.startswith("start a replica")


def test_effects_and_timers_are_told_oldest_first_with_how_to_retry() -> None:
    dead = OwedEffect(KEY, "e1", "schedule_timer", ago(100), 5, "ValueError: no")
    late = OwedEffect(KEY, "e2", "schedule_timer", ago(300), 0, None)
    facts = StoreFacts(NOW, 1, overdue=(late,), dead_letters=(dead,), timers=(DueTimer(KEY, "t1", ago(200)),))
    found = diagnose(facts, turn_limit_s=600)
    assert [finding.what for finding in found] == [
        "an effect is overdue",
        "a timer is overdue",
        "an effect was given up",
    ]
    assert [finding.session for finding in found] == ["ann:demo:t"] * 3
    assert found[2].details == "schedule_timer e1, 5 tries; ValueError: no"
    assert found[2].advice.endswith("unbroken retry 'ann:demo:t' e1")
