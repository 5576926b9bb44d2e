"""Each way in which a single socket can show a broken promise."""

from __future__ import annotations

import pytest

from tests.checker.changes import assert_flagged, changed, gone, inserted, resumes_at, swapped
from tests.checker.story import ERROR, WHICH, Change, frame, reset, token

GAP_BACK = frame("gap", cursor=0, reason="too_far")
GAP_UNKNOWN = frame("gap", cursor=2, reason="unknown_cursor")
LOOSE_QUESTION = frame("question", "r1", cursor=4, interruptId="q", value=1)
HUGE = token("r2", 2, 6, "x" * 65_537)

SHOWN: dict[str, tuple[str, str, Change]] = {
    "a durable frame lost in silence": ("I8", "no gap was announced", gone("phone", "error")),
    "a gap that was not announced": ("I8", "no gap was announced", gone("phone", "gap")),
    "a gap that leads back": ("I8", "a gap leads back", inserted("tab", GAP_BACK, "user", requestId="r2")),
    "a cursor forgotten": ("I8", "and was told before", inserted("phone", GAP_UNKNOWN, "question")),
    "a durable frame sent twice": ("I1", "was sent again", inserted("tab", ERROR, "reset", attempt=5)),
    "a request that ended twice": ("I1", "ended twice", changed("tab", "final", {"requestId": "r2"}, cursor=5)),
    "the end of the log never sent": ("I1", "was told only up to", gone("phone", "final", cursor=5)),
    "text lost at resume": ("I8", "asked for the text from", resumes_at(9)),
    "text repeated at resume": ("I8", "asked for the text from", resumes_at(13)),
    "text skipped": ("I6", "text skipped", changed("tab", "token", {"offset": 7}, offset=6)),
    "text doubled": ("I6", "text doubled", changed("tab", "token", {"offset": 5}, offset=6)),
    "text of an attempt without a reset": ("I6", "of attempt 3 while 2 is shown", gone("tab", "reset", attempt=3)),
    "an attempt that goes down": ("I6", "went down", changed("tab", "reset", {"attempt": 1}, attempt=3)),
    "a final of an earlier attempt": (
        "I6",
        "final of attempt 2 after 3",
        changed("tab", "final", {"attempt": 2}, cursor=2),
    ),
    "a tool beyond the text": ("I6", "a tool at 99", changed("tab", "tool", {"offset": 99})),
    "text after the end": ("rule 4", "after its end", inserted("tab", token("r1", 1, 14, "!"), "user", requestId="r2")),
    "a new attempt after the end": ("rule 4", "after its end", inserted("tab", reset("r1", 2), "user", requestId="r2")),
    "live before its log": (
        "rule 4",
        "before the log up to 4",
        inserted("phone", reset("timer:x:1", 5), "reset", requestId="r2"),
    ),
    "a frame before its user": ("rule 6", "before its user frame", gone("tab", "user", requestId="r2")),
    "a replayed frame before its user": ("rule 6", "before its user frame", gone("phone", "user", requestId="r3")),
    "a frame before its receipt": ("rule 7", "before its receipt", swapped("tab", "user", requestId="r2")),
    "a receipt that never came": ("rule 7", "before its receipt", gone("tab", "accepted", requestId="r2")),
    "a late receipt where another sent it first": (
        "rule 7",
        "before it was accepted",
        changed("tab", "accepted", {"duplicate": False}, duplicate=True),
    ),
    "a question out of nowhere": ("rule 5", "without a waiting final", inserted("tab", LOOSE_QUESTION, "error")),
    "a new frame type for an old client": ("rule 10", "old protocol", inserted("old", reset("r1", 1), "token")),
    "a second attempt for an old client": (
        "rule 10",
        "while 2 is shown",
        inserted("old", token("r2", 3, 0, WHICH), "final", cursor=2),
    ),
    "a token frame too large": ("I12", "more than 65536 bytes", inserted("tab", HUGE, "reset", attempt=3)),
}


@pytest.mark.parametrize("breach", SHOWN)
def test_each_breach_on_a_socket_is_flagged_by_its_law(breach: str) -> None:
    assert_flagged(*SHOWN[breach])
