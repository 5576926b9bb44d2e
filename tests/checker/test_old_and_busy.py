"""Each way in which an old client can be left out, a busy thread can be mistaken, and a frame can misquote its row."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.checker.changes import assert_flagged, changed, gone
from tests.checker.history import Fault
from tests.checker.stops import Change as StopsChange
from tests.checker.stops import Stops
from tests.checker.story import Change, Story, frame, sent

MISQUOTED: dict[str, tuple[str, str, Change]] = {
    "an end that an old client never saw": ("I8", "told 4 after 1", gone("old", "final", cursor=2)),
    "a first end that an old client never saw": ("I8", "told 2 after 0", gone("old", "final", cursor=1)),
    "a last end that an old client never saw": ("I1", "an old client watched", gone("old", "final", cursor=5)),
    "a message shown as another": ("I7", "nobody said", changed("phone", "user", {"content": "less"}, requestId="r2")),
    "an answer shown as another": ("I7", "nobody said", changed("tab", "user", {"value": "red"}, requestId="r3")),
    "another question asked": ("I7", "value is '?'", changed("tab", "question", {"value": "!"})),
    "an answer that hides its question": (
        "I7",
        "waiting is True",
        changed("old", "final", {"waiting": False}, cursor=2),
    ),
    "an answer of another attempt": ("I7", "attempt is 5", changed("tab", "final", {"attempt": 6}, cursor=5)),
    "an answer that hides its revision": (
        "I7",
        "revised is False",
        changed("tab", "final", {"revised": True}, cursor=1),
    ),
}


@pytest.mark.parametrize("breach", MISQUOTED)
def test_each_breach_is_flagged_by_its_law(breach: str) -> None:
    assert_flagged(*MISQUOTED[breach])


def test_an_old_client_begins_behind_what_others_have_acknowledged() -> None:
    story = Story()
    story.old[1:5] = [{"kind": "sent", "frame": {"type": "cancel", "requestId": "r9"}}] * 4
    assert [violation for violation in story.check() if "an old client" in violation.what]
    story.phone[0]["query"]["cursor"] = "3"
    assert not [violation for violation in story.check() if "an old client" in violation.what]


def asked_later(when_busy: str) -> StopsChange:
    """Event 1 is at work until after event 2, which was to find the thread idle, or to stop it."""

    def change(stops: Stops) -> None:
        stops.told(stops.tab, 10)["whenBusy"] = when_busy
        stops.calls[0] = replace(stops.calls[0], at=4.2)

    return change


@pytest.mark.parametrize(
    ("when_busy", "phrase"),
    [
        ("reject", "event 1 was unfinished"),
        ("interrupt", "which event 2 had stopped"),
        ("rollback", "which event 2 had stopped"),
    ],
)
def test_a_message_that_does_not_do_to_others_what_it_says_is_flagged(when_busy: str, phrase: str) -> None:
    stops = Stops()
    asked_later(when_busy)(stops)
    found = [violation for violation in stops.check() if violation.law == "whenBusy"]
    assert [violation for violation in found if phrase in violation.what], found


def test_a_message_that_waits_may_find_others_at_work() -> None:
    stops = Stops()
    asked_later("enqueue")(stops)
    assert not [violation for violation in stops.check() if violation.law == "whenBusy"]


def stopped_in_the_queue(stops: Stops) -> None:
    """Event 4 is cancelled while the model still answers event 3; and there is trouble, all the time."""
    stops.calls[4] = replace(stops.calls[4], until=80.15)
    stops.phone[4:4] = [
        (80.12, sent("cancel", requestId="r4")),
        (80.13, frame("cancelling", "r4")),
    ]
    stops.faults.append(Fault("stall", 0.0, 100.0))


def test_what_is_stopped_before_it_has_begun_never_begins_whatever_happens() -> None:
    stops = Stops()
    stopped_in_the_queue(stops)
    assert [violation for violation in stops.check() if "the model was asked about r4" in violation.what]
    stops.calls[4] = replace(stops.calls[4], until=80.0)
    assert not [violation for violation in stops.check() if "the model was asked about r4" in violation.what]


def test_an_event_is_unfinished_as_long_as_the_model_answers_it() -> None:
    stops = Stops()
    stops.told(stops.phone, 1)["whenBusy"] = "reject"
    assert stops.check() == []
    stops.calls[4] = replace(stops.calls[4], until=80.15)
    assert [violation.what for violation in stops.check() if violation.law == "whenBusy"] == [
        "event 4 was to be rejected if busy, and event 3 was unfinished"
    ]
