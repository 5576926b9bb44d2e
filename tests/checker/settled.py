"""I13: when the last fault is over, everything comes to its end without a human."""

from __future__ import annotations

from collections.abc import Iterator

from tests.checker.history import History, Violation
from tests.checker.threads import Thread

OWED = frozenset({"pending", "executing"})


def settled_violations(history: History, thread: Thread) -> Iterator[Violation]:
    """Of a history that has settled."""
    left = tuple(event for event in thread.events if event.seq > thread.applied_seq)
    if left:
        yield Violation("I13", thread.thread_id, f"{len(left)} accepted events have no end", left)
    if thread.session is not None and thread.session.tries:
        what = f"an attempt is open: try {thread.session.tries} after event {thread.session.applied_seq}"
        yield Violation("I13", thread.thread_id, what, (thread.session,))
    for effect in thread.effects:
        if effect.log_index is None and effect.status in OWED:
            what = f"a {effect.type} of event {effect.event_seq} is {effect.status} for ever"
            yield Violation("I13", thread.thread_id, what, (effect,))
    if marks := history.tables.counts.get(thread.thread_id, {}).get("controls", 0):
        yield Violation("I12", thread.thread_id, f"{marks} cancels are left of events that have ended")
