"""Each way in which tables alone can show a broken promise."""

from __future__ import annotations

import pytest

from tests.checker.changes import assert_flagged
from tests.checker.story import Change, Story


def drop(index: int, of: str = "events") -> Change:
    return lambda story: story.tables[of].pop(index)


def double_event(story: Story) -> None:
    story.events.append(story.events[0] | {"seq": 6, "id": "e6"})


def swap_answers(story: Story) -> None:
    one, two = story.effects[0], story.effects[4]
    one["log_index"], two["log_index"] = 5, 1


def changes_the_state_aloud(story: Story) -> None:
    """Event 3, which failed, and whose failure everybody was told."""
    story.events[2].update(type="state_update", payload={"type": "state_update", "values": {}})


def answers_what_nobody_asked(story: Story) -> None:
    story.events[2]["payload"].update(interrupt_id="q9")
    story.effects[3].update(type="send_message")


STORED: dict[str, tuple[str, str, Change]] = {
    "an event missing in the middle": ("I3", "seq 3 follows 1", drop(1)),
    "an event numbered twice": ("I3", "seq 2 is doubled", lambda s: s.events[2].update(seq=2)),
    "a log entry missing": ("I3", "log_index 3 follows 1", drop(1, "effects")),
    "a log entry numbered twice": ("I3", "log_index 2 is doubled", lambda s: s.effects[2].update(log_index=2)),
    "a log that ends elsewhere": ("I3", "its log ends at 9", lambda s: s.session.update(log_index=9)),
    "entries beyond the floor missing": ("I3", "log_index 1 follows 2", lambda s: s.session.update(log_floor=2)),
    "a log out of order": ("I3", "stands in the log after", swap_answers),
    "no session": ("I4", "without a session", drop(0, "sessions")),
    "applied beyond the events": ("I4", "applied_seq 9", lambda s: s.session.update(applied_seq=9)),
    "a request that became two events": ("I2", "'r1' became 2 events", double_event),
    "an effect that exists twice": (
        "I2",
        "exists 2 times",
        lambda s: s.effects[5].update(dedupe_key="e1//0/0/send_message"),
    ),
    "applied without effects": ("I4", "is applied and has no effects", drop(6, "effects")),
    "effects without applied": ("I4", "is not applied and has effects", lambda s: s.session.update(applied_seq=4)),
    "effects of no event": ("I4", "which is not", drop(4)),
    "an accepted event without end": ("I1", "never reached an end", lambda s: s.unfinish(3)),
    "an event with two ends": ("I1", "has 2 visible ends", lambda s: s.effects[2].update(type="report_failure")),
    "an event with a silent end": ("I1", "has 0 visible ends", lambda s: s.effects[3].update(type="schedule_timer")),
    "a user's message skipped": ("I1", "has 0 visible ends", lambda s: s.effects[0].update(type="skip_event")),
    "the end of a change of the state in the log": ("rule 6", "its end is in the log", changes_the_state_aloud),
    "attempts that go down": ("I6", "ended in no later attempt", lambda s: s.effects[3]["payload"].update(attempt=2)),
    "an attempt never counted": ("I6", "was never counted", lambda s: s.session.update(run=3)),
    "waiting without a question": ("rule 5", "waiting is True, with 0", lambda s: s.effects[2].update(type="x")),
    "a question without waiting": (
        "rule 5",
        "waiting is False",
        lambda s: s.effects[1]["payload"].update(waiting=False),
    ),
    "an answer to a question that is not open": ("rule 8", "answers q9, which is not open", answers_what_nobody_asked),
    "an answered message lost from the state": (
        "I4",
        "event 2 0 times",
        lambda s: s.tables["state_messages"]["t"].remove("e2"),
    ),
    "a message twice in the state": ("I4", "event 1 2 times", lambda s: s.tables["state_messages"]["t"].append("e1")),
}


def unfinished_in_the_state(head_event: int) -> Change:
    def change(story: Story) -> None:
        story.unfinish(2)
        story.session["head_event"] = head_event

    return change


STORED["an unfinished event in a head it did not write"] = ("I4", "unfinished event 2", unfinished_in_the_state(1))


@pytest.mark.parametrize("breach", STORED)
def test_each_breach_in_the_tables_is_flagged_by_its_law(breach: str) -> None:
    assert_flagged(*STORED[breach])
