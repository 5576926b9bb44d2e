"""Laws of one socket, frame by frame: a reader that trusts nothing and remembers what it was shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.checker.history import DURABLE, ENDS, LEGACY, Frame, Line, Socket, Violation, units
from tests.checker.threads import Talk, Thread, says

MAX_TOKEN_UNITS = 8_192
MAX_TOKEN_BYTES = 64 << 10
PROVISIONAL = frozenset({"reset", "token", "tool"})
RESUMES = ("requestId", "attempt", "offset")


class Reader:
    """What one connection has been told so far, and every law it saw broken."""

    def __init__(self, socket: Socket, thread: Thread, talk: Talk) -> None:
        self.violations: list[Violation] = []
        self.position = _start(socket)
        """The last cursor told; None: not known yet."""
        self._socket = socket
        self._thread = thread
        self._talk = talk
        self._first_sender = talk.first_sender
        self._old = self._legacy = "cursor" not in socket.query
        """`_old`: began as a client of the old protocol; `_legacy`: is one still, having acknowledged nothing."""
        self._asked: Counter[str] = Counter()
        """Sendings of a request that no receipt has answered."""
        self._announced: set[str] = set()
        self._accepted: set[str] = set()
        self._spoken: dict[str, Frame] = {}
        self._ended: dict[str, Frame] = {}
        self._attempts: dict[str, int] = {}
        self._lengths: dict[str, int] = {}
        self._resumes: str | None = None
        self._asking: str | None = None
        self._log_begun = False
        if all(name in socket.query for name in RESUMES):
            self._resumes = socket.query["requestId"]
            self._attempts[self._resumes] = int(socket.query["attempt"])
            self._lengths[self._resumes] = int(socket.query["offset"])

    def read(self, line: Line) -> None:
        frame = line.frame
        if line.kind == "sent":
            self._sent(frame)
        if line.kind != "frame":
            return
        kind, request = frame["type"], frame.get("requestId", "")
        durable = kind in DURABLE and "cursor" in frame
        if self._legacy and kind not in LEGACY:
            self._fault("rule 10", f"{kind} was sent to a client of the old protocol", frame)
        if kind == "accepted":
            self._receipt(request, frame)
        elif kind == "gap":
            self._gap(frame)
        elif kind == "cancelling" or (kind in ENDS and not durable):
            return
        else:
            self._of_event(kind, request, frame)
            if durable:
                self._durable(kind, request, frame)

    def _sent(self, frame: Frame) -> None:
        if frame.get("type") == "ack":
            self._legacy = False
        elif says(frame):
            self._asked[frame["requestId"]] += 1

    def _of_event(self, kind: str, request: str, frame: Frame) -> None:
        if kind == "answered":
            return  # belongs to a question, and names no request
        event = self._thread.by_request.get(request)
        if kind in PROVISIONAL | ENDS and event is not None and event.type == "state_update":
            self._fault("rule 5", f"{kind} of a change of the state, of which nobody is told", frame)
        from_user = event is None or event.type not in ("timer_fired", "state_update")
        if kind == "user":
            self._announced.add(request)
        elif from_user and not self._old and request not in self._announced:
            self._fault("rule 6", f"{kind} of {request} came before its user frame", frame)
            self._announced.add(request)
        self._spoken.setdefault(request, frame)
        if self._first_sender.get(request) is self._socket and not self._old and request not in self._accepted:
            self._fault("rule 7", f"{kind} of {request} came before its receipt, on the socket that sent it", frame)
            self._accepted.add(request)
        if kind == "reset":
            self._reset(request, frame)
        elif kind in {"token", "tool", "custom", "reasoning", "aside"}:
            self._provisional(kind, request, frame)

    def _receipt(self, request: str, frame: Frame) -> None:
        if request in self._spoken and request not in self._accepted and not frame["duplicate"]:
            self._fault("rule 7", f"{request} was spoken of before it was accepted", self._spoken[request], frame)
        if not self._asked[request]:
            self._fault("rule 7", f"{request}: a receipt for what was not sent over this socket", frame)
        self._asked[request] -= 1
        self._accepted.add(request)

    def _gap(self, frame: Frame) -> None:
        if frame["reason"] == "unknown_cursor" and self.position is not None and self._was_told(self.position):
            self._fault("I8", f"cursor {self.position} is said to be unknown, and was told before", frame)
        if self.position is not None and frame["cursor"] < self.position and frame["reason"] != "unknown_cursor":
            self._fault("I8", f"a gap leads back from {self.position} to {frame['cursor']}", frame)
        self.position = frame["cursor"]

    def _was_told(self, cursor: int) -> bool:
        """Whether anyone was told so much of this log before this connection began."""
        told = (line for kind in DURABLE for _, line in self._talk.told.get(kind, ()))
        return any(line.at < self._socket.opened_at and line.frame.get("cursor", 0) >= cursor for line in told)

    def _reset(self, request: str, frame: Frame) -> None:
        self._live(request, frame)
        if frame["attempt"] < self._attempts.get(request, 0):
            self._fault("I6", f"{request}: attempt {self._attempts[request]} went down to {frame['attempt']}", frame)
        self._attempts[request] = frame["attempt"]
        self._lengths[request] = 0
        if request == self._resumes:
            self._resumes = None

    def _provisional(self, kind: str, request: str, frame: Frame) -> None:
        self._live(request, frame)
        attempt = self._attempts.get(request)
        if attempt is None and self._legacy:
            self._attempts[request] = attempt = frame["attempt"]
            self._lengths[request] = 0
        if attempt != frame["attempt"]:
            law = "rule 10" if self._legacy else "I6"
            self._fault(law, f"{request}: {kind} of attempt {frame['attempt']} while {attempt} is shown", frame)
            return
        if kind == "token":
            self._token(request, frame)
        elif frame["offset"] > self._lengths[request]:
            self._fault(
                "I6", f"{request}: a {kind} at {frame['offset']}, the text ends at {self._lengths[request]}", frame
            )

    def _token(self, request: str, frame: Frame) -> None:
        length, offset = self._lengths[request], frame["offset"]
        rounded_down = frame["value"][:1] > "\uffff" and offset == length - 1
        if request == self._resumes and offset != length and not rounded_down:
            self._fault("I8", f"{request}: asked for the text from {length} and got it from {offset}", frame)
        elif request != self._resumes and offset != length:
            fault = "doubled" if offset < length else "skipped"
            self._fault("I6", f"{request}: text {fault}: offset {offset} where it ends at {length}", frame)
        size = len(units(frame["value"])) // 2
        if size > MAX_TOKEN_UNITS:
            self._fault("I12", f"{request}: a token of {size} code units, more than {MAX_TOKEN_UNITS}")
        if size > MAX_TOKEN_BYTES // 6 and len(frame["value"].encode("utf-8", "surrogatepass")) > MAX_TOKEN_BYTES:
            self._fault("I12", f"{request}: a token frame of more than {MAX_TOKEN_BYTES} bytes")
        self._resumes = None if request == self._resumes else self._resumes
        self._lengths[request] = offset + size

    def _live(self, request: str, frame: Frame) -> None:
        """Rule 4: nothing live after the end, and nothing before the log up to the attempt's start."""
        if request in self._ended:
            self._fault("rule 4", f"{frame['type']} of {request} after its end", self._ended[request], frame)
        event = self._thread.by_request.get(request)
        if event is None or self.position is None or self._old:
            return  # the old protocol has no questions in it, so its cursors have holes
        if (end := self._thread.log_before[event.seq]) > self.position:
            what = f"{frame['type']} of event {event.seq} before the log up to {end}; it is at {self.position}"
            self._fault("rule 4", what, frame)

    def _durable(self, kind: str, request: str, frame: Frame) -> None:
        cursor = frame["cursor"]
        if self.position is not None and cursor <= self.position:
            self._fault("I1", f"cursor {cursor} was sent again after {self.position}", frame)
        elif self.position is not None and cursor > self.position + 1 and not self._old:
            self._fault("I8", f"cursor {cursor} follows {self.position}, and no gap was announced", frame)
        self.position = cursor if self.position is None else max(cursor, self.position)
        if kind == "question":
            if self._log_begun and self._asking != request:
                self._fault("rule 5", f"a question of {request} without a waiting final before it", frame)
            self._asking = request
        self._log_begun = True
        if kind not in ENDS:
            return
        if request in self._ended:
            self._fault("I1", f"{request} ended twice", self._ended[request], frame)
        self._ended[request] = frame
        self._asking = request if frame.get("waiting") else None
        if kind == "final" and frame["attempt"] < self._attempts.get(request, 0):
            what = f"{request}: final of attempt {frame['attempt']} after {self._attempts[request]}"
            self._fault("I6", what, frame)

    def _fault(self, law: str, what: str, *evidence: Any) -> None:
        self.violations.append(Violation(law, self._socket.thread_id, f"{self._socket.name}: {what}", evidence))


def _start(socket: Socket) -> int | None:
    cursor = socket.query.get("cursor", "")
    return int(cursor) if cursor.isdigit() else None


def socket_violations(socket: Socket, thread: Thread, talk: Talk, *, to_the_end: bool) -> Iterator[Violation]:
    """`to_the_end`: this client was still watching when everything had settled."""
    reader = Reader(socket, thread, talk)
    for line in socket.lines:
        reader.read(line)
    yield from reader.violations
    end = thread.session.log_index if thread.session else 0
    if to_the_end and "cursor" in socket.query and (reader.position or 0) < end:
        what = f"{socket.name}: watched to the end and was told only up to {reader.position} of {end}"
        yield Violation("I1", socket.thread_id, what)
