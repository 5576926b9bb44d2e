"""Each way in which sockets and tables can contradict each other."""

from __future__ import annotations

import pytest

from tests.checker.changes import assert_flagged, changed, inserted
from tests.checker.story import HELLO, Change, Story, final, frame, reset, sent, token, user

NEVER_STORED = frame("accepted", "r9", seq=9, duplicate=False)


def uncommitted(story: Story) -> None:
    """A final is shown, and the tables know nothing of it."""
    story.unfinish(5)
    story.effects[:] = [row for row in story.effects if row["log_index"] != 5]
    story.session["log_index"] = 4
    story.old.append(final("timer:x:1", 5, 5, HELLO))


def another_body(story: Story) -> None:
    """The phone sends r1 with another text and is told that it was accepted."""
    story.phone[1:1] = [sent("message", requestId="r1", content="ho"), frame("accepted", "r1", seq=1, duplicate=True)]


AGREED: dict[str, tuple[str, str, Change]] = {
    "an accepted request that is not stored": (
        "I1",
        "was accepted, and is not stored",
        inserted("tab", NEVER_STORED, "user"),
    ),
    "a request accepted under another number": (
        "I2",
        "was accepted as 7",
        changed("tab", "accepted", {"seq": 7}, requestId="r2"),
    ),
    "a request accepted as new twice": (
        "I2",
        "accepted as new twice",
        changed("tab", "accepted", {"duplicate": False}, duplicate=True),
    ),
    "another body told accepted": ("I2", "another body is stored", another_body),
    "a stored body that nobody sent": ("I2", "nobody sent", lambda s: s.events[1]["payload"].update(content="less")),
    "a stored response that nobody sent": ("I2", "nobody sent", lambda s: s.events[2]["payload"].update(value="red")),
    "a message shown that is not stored": (
        "I7",
        "was shown as said, and is not stored",
        inserted("tab", user("r9", 9, content="x"), "user"),
    ),
    "tokens of what is not stored": (
        "I7",
        "token of r9, which is not stored",
        inserted("tab", token("r9", 9, 0, "x"), "user"),
    ),
    "a final that was never committed": ("I7", "never committed", uncommitted),
    "a final with another text": ("I7", "is not what is stored", changed("tab", "final", {"message": "No"}, cursor=5)),
    "a final of another kind": ("I7", "a report_failure", changed("phone", "error", {"type": "cancelled"})),
    "an end of another event": ("I7", "of event 4", changed("old", "final", {"requestId": "r3"}, cursor=5)),
    "another question": ("I7", "interrupt_id is", changed("phone", "question", {"interruptId": "q2"})),
    "an attempt shared by two events": (
        "I6",
        "belongs to events",
        changed("old", "token", {"attempt": 1}, requestId="r2"),
    ),
    "an attempt shown and never counted": (
        "I6",
        "attempt 8 was never counted",
        inserted("tab", reset("r2", 8), "final", cursor=2),
    ),
    "a later event that ran first": (
        "I3",
        "event 1 ran as attempt 6",
        changed("old", "token", {"attempt": 6}, requestId="r1"),
    ),
    "clients shown different texts": ("I6", "differ at 4", changed("phone", "token", {"value": "ck!"}, offset=3)),
    "text that is not the final's": (
        "I6",
        "the stored end",
        lambda s: s.effects[0]["payload"].update(text="Hullo 😀 there"),
    ),
    "more text than the final": ("I6", "more was shown", lambda s: s.effects[0]["payload"].update(text="Hello 😀")),
}


@pytest.mark.parametrize("breach", AGREED)
def test_each_breach_between_them_is_flagged_by_its_law(breach: str) -> None:
    assert_flagged(*AGREED[breach])
