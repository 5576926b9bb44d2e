"""`whenBusy`: what a message does to the unfinished ones before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.checker.cancels import asked_after_stop
from tests.checker.history import Call, History, Line, Violation
from tests.checker.threads import Talk, Thread, unfinished_at


def busy_violations(history: History, thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    for _, line in talk.told.get("accepted", ()) if calls else ():
        said = {saying.frame.get("whenBusy") for _, saying in talk.said.get(line.frame["requestId"], ())}
        if line.frame["duplicate"] or len(said) != 1:
            continue
        if "reject" in said:
            yield from _not_rejected(thread, calls, line)
        elif said <= {"interrupt", "rollback"}:
            yield from _not_interrupted(history, thread, calls, line)


def _not_rejected(thread: Thread, calls: Sequence[Call], line: Line) -> Iterator[Violation]:
    seq = line.frame["seq"]
    for earlier in unfinished_at(thread, calls, line.at):
        if earlier < seq:
            what = f"event {seq} was to be rejected if busy, and event {earlier} was unfinished"
            yield Violation("whenBusy", thread.thread_id, what, (line.frame,))


def _not_interrupted(history: History, thread: Thread, calls: Sequence[Call], line: Line) -> Iterator[Violation]:
    stopped = {event.id: event.seq for event in thread.events if event.seq < line.frame["seq"]}
    for call in asked_after_stop(history, thread, calls, stopped, line.at):
        what = f"the model was asked about event {stopped[call.event_id]}, which event {line.frame['seq']} had stopped"
        yield Violation("whenBusy", thread.thread_id, what, (line.frame, call))
