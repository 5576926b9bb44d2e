"""A history in which everything was kept, told by three clients: the tests break it, one law at a time.

Event 1 is answered while the tab's socket is cut in the middle of a surrogate-rich word; event 2 crashes once and
ends in a question; event 3 answers it and fails; event 4 is a timer nobody was waiting for, event 5 one that a
message overtook. `phone` comes late, `old` speaks the old protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tests.checker.check import violations
from tests.checker.history import Line, Tables, Violation, sockets_of

Row = dict[str, Any]
HELLO, WHICH, STILL = "Hello 😀 there", "Which?", "Still there?"


def frame(kind: str, request: str = "", **fields: Any) -> Row:
    return {"kind": "frame", "frame": {"type": kind} | ({"requestId": request} if request else {}) | fields}


def sent(kind: str, **fields: Any) -> Row:
    return {"kind": "sent", "frame": {"type": kind, **fields}}


def opened(**query: str) -> Row:
    return {"kind": "open", "query": {"threadId": "t", **query}}


def token(request: str, attempt: int, offset: int, value: str) -> Row:
    return frame("token", request, attempt=attempt, offset=offset, value=value, messageId=f"m{attempt}")


def final(request: str, cursor: int, attempt: int, message: str, **fields: Any) -> Row:
    fields = {"content": [], "revised": False, "waiting": False} | fields
    return frame("final", request, cursor=cursor, attempt=attempt, message=message, **fields)


def user(request: str, seq: int, **fields: Any) -> Row:
    return frame("user", request, seq=seq, createdAt="2026-11-01T00:00:00Z", **fields)


def reset(request: str, attempt: int, reason: str = "started") -> Row:
    return frame("reset", request, attempt=attempt, reason=reason)


USERS = {
    "r1": user("r1", 1, content="hi"),
    "r2": user("r2", 2, content="more"),
    "r3": user("r3", 3, interruptId="q1", value="blue"),
}
ERROR = frame("error", "r3", cursor=4, code="model_failed", message="no", retryable=False)
QUESTION = frame("question", "r2", cursor=3, interruptId="q1", value="?")


def _tab() -> list[Row]:
    return [
        opened(cursor="0"),
        sent("message", requestId="r1", content="hi"),
        frame("accepted", "r1", seq=1, duplicate=False),
        USERS["r1"],
        reset("r1", 1),
        token("r1", 1, 0, "Hello "),
        token("r1", 1, 6, "😀 th"),
        {"kind": "closed", "code": None},
        opened(cursor="0", requestId="r1", attempt="1", offset="11"),
        sent("message", requestId="r1", content="hi"),
        USERS["r1"],
        token("r1", 1, 11, "ere"),
        frame("accepted", "r1", seq=1, duplicate=True),
        frame("tool", "r1", attempt=1, offset=14, toolCallId="c", name="look", phase="started"),
        final("r1", 1, 1, HELLO),
        sent("ack", cursor=1),
        sent("message", requestId="r2", content="more"),
        frame("accepted", "r2", seq=2, duplicate=False),
        USERS["r2"],
        reset("r2", 2),
        token("r2", 2, 0, "Bad st"),
        reset("r2", 3, "retry"),
        token("r2", 3, 0, WHICH),
        final("r2", 2, 3, WHICH, waiting=True),
        QUESTION,
        sent("respond", requestId="r3", interruptId="q1", value="blue"),
        frame("accepted", "r3", seq=3, duplicate=False),
        USERS["r3"],
        reset("r3", 4),
        ERROR,
        reset("timer:x:1", 5),
        token("timer:x:1", 5, 0, STILL),
        final("timer:x:1", 5, 5, STILL, origin="agent"),
    ]


def _phone() -> list[Row]:
    return [
        opened(cursor="0"),
        frame("gap", cursor=1, reason="too_far"),
        USERS["r2"],
        reset("r2", 3, "resync"),
        token("r2", 3, 0, "Whi"),
        token("r2", 3, 3, "ch?"),
        final("r2", 2, 3, WHICH, waiting=True),
        {"kind": "closed", "code": 1012},
        opened(cursor="2"),
        USERS["r2"],
        QUESTION,
        USERS["r3"],
        ERROR,
        final("timer:x:1", 5, 5, STILL, origin="agent"),
    ]


def _old() -> list[Row]:
    return [
        opened(),
        token("r1", 1, 0, "Hello "),
        final("r1", 1, 1, HELLO),
        token("r2", 2, 0, "Bad"),
        final("r2", 2, 3, WHICH, waiting=True),
        ERROR,
        final("timer:x:1", 5, 5, STILL, origin="agent"),
    ]


def event(seq: int, request: str, type: str = "user_message", **payload: Any) -> Row:  # noqa: A002
    payload = {"type": type} | payload
    return {"thread_id": "t", "seq": seq, "id": f"e{seq}", "request_id": request, "type": type, "payload": payload}


def effect(seq: int, ordinal: int, log_index: int | None, type: str, **payload: Any) -> Row:  # noqa: A002
    return {
        "thread_id": "t",
        "event_seq": seq,
        "ordinal": ordinal,
        "log_index": log_index,
        "type": type,
        "payload": {"type": type} | payload,
        "dedupe_key": f"e{seq}//0/{ordinal}/{type}",
        "status": "completed" if log_index is None else None,
    }


def _tables() -> dict[str, Any]:
    session = {"thread_id": "t", "user_id": "ann", "agent_id": "demo", "owner": 1, "epoch": 2}
    return {
        "sessions": [session | {"applied_seq": 5, "log_index": 5, "run": 6, "head_event": 4, "log_floor": 0}],
        "events": [
            event(1, "r1", content="hi"),
            event(2, "r2", content="more"),
            event(3, "r3", "input_response", interrupt_id="q1", value="blue"),
            event(4, "timer:x:1", "timer_fired", timer_id="x", generation=1),
            event(5, "timer:y:1", "timer_fired", timer_id="y", generation=1),
        ],
        "effects": [
            effect(1, 0, 1, "send_message", text=HELLO, attempt=1, revised=False),
            effect(2, 0, 2, "send_message", text=WHICH, attempt=3, waiting=True),
            effect(2, 1, 3, "request_input", interrupt_id="q1", value="?"),
            effect(3, 0, 4, "report_failure", code="model_failed", message="no", attempt=4),
            effect(4, 0, 5, "send_message", text=STILL, attempt=5),
            effect(4, 1, None, "schedule_timer", after_s=60.0),
            effect(5, 0, None, "skip_event", reason="a message came first"),
        ],
        "state_messages": {"t": ["e1", "m1", "e2", "m3", "m5"]},
    }


class Story:
    """Rows that a test may change, and what the checker says of them."""

    def __init__(self) -> None:
        self.tab, self.phone, self.old = _copy(_tab()), _copy(_phone()), _copy(_old())
        self.tables = _copy(_tables())

    @property
    def session(self) -> Row:
        row: Row = self.tables["sessions"][0]
        return row

    @property
    def events(self) -> list[Row]:
        rows: list[Row] = self.tables["events"]
        return rows

    @property
    def effects(self) -> list[Row]:
        rows: list[Row] = self.tables["effects"]
        return rows

    def unfinish(self, seq: int) -> None:
        """As if this event and everything behind it had not been applied yet."""
        self.session["applied_seq"] = seq - 1
        self.effects[:] = [row for row in self.effects if row["event_seq"] < seq]
        self.session["log_index"] = max((row["log_index"] or 0 for row in self.effects), default=0)
        kept = range(1, self.session["log_index"] + 1)
        for trace in (self.tab, self.phone, self.old):
            trace[:] = [line for line in trace if line.get("frame", {}).get("cursor", 1) in kept]

    def check(self, *, settled: bool = True) -> list[Violation]:
        sockets = []
        for name, rows in (("tab", self.tab), ("phone", self.phone), ("old", self.old)):
            lines = [msgspec.convert(row | {"at": float(at)}, Line) for at, row in enumerate(rows)]
            sockets += sockets_of(name, lines)
        return violations(sockets, Tables.of(self.tables), settled=settled, watched_to_the_end=("tab", "phone", "old"))


def _copy(rows: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(rows))


Change = Callable[[Story], None]


def find(trace: list[Row], kind: str, **fields: Any) -> Row:
    """The first frame of a kind with these fields, to be changed in place."""
    for line in trace:
        wanted = line.get("frame", {})
        if wanted.get("type") == kind and all(wanted.get(name) == value for name, value in fields.items()):
            row: Row = wanted
            return row
    raise AssertionError(f"the story has no {kind} with {fields}")


def place(trace: list[Row], kind: str, **fields: Any) -> int:
    wanted = find(trace, kind, **fields)
    return next(index for index, line in enumerate(trace) if line.get("frame") is wanted)
