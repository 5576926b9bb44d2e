"""I9 and rule 8: a cancel is answered within a second, its output stops, and it decides the turn's end.

What is exact: `cancelling` answers a cancel of the same socket, comes before the turn's end there, and the end is then
`cancelled` (the row that both need decides, so an answer that was faster makes it `already_ended` instead). What was
generated before may still follow it. What is promised within a second is asked for where no fault meets that second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.checker.history import ENDS, Call, Frame, History, Line, Socket, Violation
from tests.checker.threads import Talk, Thread, unfinished_at

PROMPT_S = 1.0
OUTPUT = frozenset({"token", "tool", "custom", "reasoning", "aside", "reset"})
OTHER_ENDS = frozenset({"send_message", "report_failure"})


def cancel_violations(history: History, thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    confirmed: dict[str, Line] = {}
    for socket in talk.sockets:
        if any(_concerns(line.frame) for line in socket.lines):
            reader = Canceller(history, thread, socket)
            for line in socket.lines:
                reader.read(line)
            reader.over()
            yield from reader.violations
            for request, line in reader.confirmed.items():
                if request not in confirmed or line.at < confirmed[request].at:
                    confirmed[request] = line
    for request, line in confirmed.items():
        yield from _end(thread, request, line)
        yield from _asked_again(history, thread, request, line, calls)


def _concerns(frame: Frame) -> bool:
    kind = frame.get("type")
    return kind in ("cancel", "cancelling") or (kind == "error" and frame.get("code") in Canceller.ANSWERS)


def _end(thread: Thread, request: str, line: Line) -> Iterator[Violation]:
    event = thread.by_request.get(request)
    if event is None:
        yield Violation("I9", thread.thread_id, f"cancelling of {request}, which is not stored", (line.frame,))
        return
    for effect in thread.effects_of(event):
        if effect.type in OTHER_ENDS:
            what = f"the cancel of {request} was confirmed, and it ended in {effect.type}"
            yield Violation("I9", thread.thread_id, what, (line.frame, effect))


def _asked_again(
    history: History, thread: Thread, request: str, line: Line, calls: Sequence[Call]
) -> Iterator[Violation]:
    event = thread.by_request.get(request)
    stopped = {event.id: event.seq} if event is not None else {}
    for call in asked_after_stop(history, thread, calls, stopped, line.at):
        what = f"the model was asked about {request} {call.at - line.at:.3f} s after its cancel was confirmed"
        yield Violation("I9", thread.thread_id, what, (line.frame, call))


def asked_after_stop(
    history: History, thread: Thread, calls: Sequence[Call], stopped: Mapping[str, int], at: float
) -> Iterator[Call]:
    """Calls about events, by id, that were known to be stopped at that moment.

    An event behind an unfinished one has no attempt yet, and none may begin whatever happens. One that is at work is
    stopped within a second, where no fault meets that.
    """
    later = [call for call in calls if call.event_id in stopped and call.at > at]
    if not later:
        return
    first = next(iter(unfinished_at(thread, calls, at)), None)
    for call in later:
        waited = first is not None and stopped[call.event_id] > first
        if waited or (call.at > at + PROMPT_S and undisturbed(history, thread, at - PROMPT_S, call.at)):
            yield call


def undisturbed(history: History, thread: Thread, begin: float, end: float) -> bool:
    """Whether what is promised without faults was promised here."""
    return history.complete and not any(fault.meets(thread.thread_id, begin, end) for fault in history.faults)


class Canceller:
    """What one connection asked to stop, and was told of it."""

    ANSWERS = frozenset({"already_ended", "unknown_request"})

    def __init__(self, history: History, thread: Thread, socket: Socket) -> None:
        self.violations: list[Violation] = []
        self.confirmed: dict[str, Line] = {}
        self._history = history
        self._thread = thread
        self._socket = socket
        self._legacy = "cursor" not in socket.query
        self._asked: defaultdict[str, int] = defaultdict(int)
        self._unanswered: defaultdict[str, list[Line]] = defaultdict(list)
        """Cancels that may have had no answer yet."""
        self._accepted: set[str] = set()
        self._ended: set[str] = set()
        self._last = 0.0

    def read(self, line: Line) -> None:
        self._last = line.at
        frame = line.frame
        kind, request = frame.get("type", ""), frame.get("requestId", "")
        if line.kind == "sent":
            if kind == "cancel":
                self._asked[request] += 1
                self._unanswered[request].append(line)
        elif line.kind != "frame":
            return
        elif kind == "cancelling":
            self._confirm(request, line)
        elif kind == "accepted":
            self._accepted.add(request)
        elif kind == "error" and "cursor" not in frame:
            self._refuse(request, frame["code"], line)
        elif kind in ENDS:
            self._ended.add(request)
        elif kind in OUTPUT and request in self.confirmed:
            self._output(request, line)

    def over(self) -> None:
        """The connection's end: what had no answer for longer than a second, gets none any more."""
        for request, lines in self._unanswered.items():
            for line in lines:
                if self._last > line.at + PROMPT_S:
                    self._in_time(request, line, self._last)

    def _confirm(self, request: str, line: Line) -> None:
        self._asked[request] -= 1
        if self._asked[request] < 0:
            self._fault(f"cancelling of {request}, which this socket did not cancel", line.frame)
        if request in self._ended:
            self._fault(f"cancelling of {request} after its end", line.frame)
        self.confirmed.setdefault(request, line)
        self._answered(request, line)

    def _refuse(self, request: str, code: str, line: Line) -> None:
        if code not in self.ANSWERS:
            # It may have answered a cancel, or another frame.
            for doubtful in [request] if request else list(self._unanswered):
                self._unanswered[doubtful].clear()
            return
        event = self._thread.by_request.get(request)
        if code == "already_ended" and (event is None or event.seq > self._thread.applied_seq):
            self._fault(f"{request} is said to have ended, and has no end", line.frame)
        if code == "unknown_request" and request in self._accepted:
            self._fault(f"{request} was accepted, and then unknown", line.frame)
        self._answered(request, line)

    def _answered(self, request: str, line: Line) -> None:
        if self._unanswered[request]:
            self._in_time(request, self._unanswered[request].pop(0), line.at)

    def _in_time(self, request: str, asked: Line, until: float) -> None:
        if (
            until > asked.at + PROMPT_S
            and not self._legacy
            and undisturbed(self._history, self._thread, asked.at, until)
        ):
            self._fault(f"the cancel of {request} had no answer for {until - asked.at:.3f} s", asked.frame)

    def _output(self, request: str, line: Line) -> None:
        confirmed = self.confirmed[request]
        if line.at > confirmed.at + PROMPT_S and undisturbed(self._history, self._thread, confirmed.at, line.at):
            what = f"{line.frame['type']} of {request} {line.at - confirmed.at:.3f} s after its cancel was confirmed"
            self._fault(what, confirmed.frame, line.frame)

    def _fault(self, what: str, *evidence: Any) -> None:
        self.violations.append(Violation("I9", self._thread.thread_id, f"{self._socket.name}: {what}", evidence))
