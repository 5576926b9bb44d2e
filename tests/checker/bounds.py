"""I12: rows are bounded, and the offender is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.checker.history import Call, History, Violation
from tests.checker.threads import Talk, Thread, unfinished_at

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
    for socket, line in talk.told.get("accepted", ()):
        seq = line.frame["seq"]
        first = next(iter(unfinished_at(thread, calls, line.at)), seq)
        if seq - first >= limit and not line.frame["duplicate"]:
            what = f"{socket.name}: event {seq} was accepted while {first} was unfinished, and the limit is {limit}"
            yield Violation("I12", thread.thread_id, what, (line.frame,))


def _checkpoints(history: History, thread: Thread) -> Iterator[Violation]:
    """Not while a question is open, which nothing is removed under."""
    count = history.tables.counts.get(thread.thread_id, {}).get("checkpoints", 0)
    bound = KEPT_BEGINNINGS + HEAD_AND_BASE + PRUNED_EVERY * history.checkpoints_per_event
    if count > bound and not any(effect.type == "request_input" for effect in thread.effects):
        yield Violation("I12", thread.thread_id, f"{count} checkpoints are kept; {bound} are enough")
