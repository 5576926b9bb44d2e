"""I12: rows are bounded, and the offender is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.checker.history import Call, History, Violation
from tests.checker.threads import Talk, Thread

KEPT_BEGINNINGS = 20
"""Of the latest events, where each of them began: what a message can be replaced from."""
HEAD_AND_BASE = 2
PRUNED_EVERY = 8
"""Finishing commits: between two prunings each event adds its checkpoints."""


def bound_violations(history: History, thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    if history.queue_limit is not None:
        yield from _queue(history.queue_limit, thread, talk, calls)
    yield from _checkpoints(history, thread)


def _queue(limit: int, thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    waiting = len(thread.events) - thread.applied_seq
    if waiting > limit:
        yield Violation("I12", thread.thread_id, f"{waiting} unfinished events, and the limit is {limit}")
    if calls:
        yield from _overfull(limit, thread, talk, calls)
    for socket, line in talk.told.get("error", ()):
        if line.frame["code"] == "queue_full" and len(thread.events) < limit:
            what = f"{socket.name}: refused as full, with {len(thread.events)} events ever and a limit of {limit}"
            yield Violation("I12", thread.thread_id, what, (line.frame,))


def _overfull(limit: int, thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    """An event is unfinished at least until the model was last asked about it."""
    seqs = {event.id: event.seq for event in thread.events}
    asked = [(call.at, seqs[call.event_id]) for call in calls if call.event_id in seqs]
    for socket, line in talk.told.get("accepted", ()):
        unfinished = min((seq for at, seq in asked if at > line.at), default=line.frame["seq"])
        if line.frame["seq"] - unfinished >= limit and not line.frame["duplicate"]:
            what = f"{socket.name}: event {line.frame['seq']} was accepted while {unfinished} was unfinished"
            yield Violation("I12", thread.thread_id, f"{what}, and the limit is {limit}", (line.frame,))


def _checkpoints(history: History, thread: Thread) -> Iterator[Violation]:
    """Not while a question is open, which nothing is removed under."""
    count = history.tables.counts.get(thread.thread_id, {}).get("checkpoints", 0)
    bound = KEPT_BEGINNINGS + HEAD_AND_BASE + PRUNED_EVERY * history.checkpoints_per_event
    if count > bound and not any(effect.type == "request_input" for effect in thread.effects):
        yield Violation("I12", thread.thread_id, f"{count} checkpoints are kept; {bound} are enough")
