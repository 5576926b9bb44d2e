"""A second history in which everything was kept, with times, a model's bill, a fault and a stranger.

Event 1 is cancelled in the middle, while a token is in flight. Event 2 is tried three times: the model is busy, the
server is killed, the third try answers and sets timer `x`. It fires as event 3, which sets it anew; event 4, a message
of another device, cancels it. The tab's cancel of event 4 comes too late, one of its messages is refused because the
queue is full, another is lost with its socket. `eve` tries to read along.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec
from msgspec.structs import replace

from tests.checker.check import violations_of
from tests.checker.history import Call, Fault, History, Line, Socket, Tables, Violation, sockets_of
from tests.checker.story import Row, effect, event, final, frame, opened, reset, sent, token, user

HELD, DONE, AGAIN, YES = "I will ", "Done.", "Still there?", "Yes."
FULL = frame("error", "r5", code="queue_full", message="", retryable=True)
LATE = frame("error", "r4", code="already_ended", message="", retryable=False)


def _tab() -> list[tuple[float, Row]]:
    return [
        (0.0, opened(cursor="0", userId="ann")),
        (1.0, sent("message", requestId="r1", content="go")),
        (1.1, frame("accepted", "r1", seq=1, duplicate=False)),
        (1.1, user("r1", 1, content="go")),
        (1.2, reset("r1", 1)),
        (1.4, token("r1", 1, 0, "I ")),
        (2.0, sent("cancel", requestId="r1")),
        (2.2, frame("cancelling", "r1")),
        (2.3, token("r1", 1, 2, "will ")),
        (2.5, frame("cancelled", "r1", cursor=1, message=HELD)),
        (3.0, sent("message", requestId="r2", content="do")),
        (3.1, frame("accepted", "r2", seq=2, duplicate=False)),
        (3.1, user("r2", 2, content="do")),
        (3.2, reset("r2", 2)),
        (4.2, reset("r2", 3, "retry")),
        (4.3, token("r2", 3, 0, "Do")),
        (5.0, {"kind": "closed"}),
        (6.0, opened(cursor="1", userId="ann")),
        (6.0, user("r2", 2, content="do")),
        (6.1, reset("r2", 4, "takeover")),
        (6.2, token("r2", 4, 0, DONE)),
        (6.3, final("r2", 2, 4, DONE)),
        (70.0, reset("timer:x/1", 5)),
        (70.1, token("timer:x/1", 5, 0, AGAIN)),
        (70.2, final("timer:x/1", 3, 5, AGAIN, origin="agent")),
        (80.1, user("r4", 4, content="yes")),
        (80.2, reset("r4", 6)),
        (80.3, token("r4", 6, 0, YES)),
        (80.4, final("r4", 4, 6, YES)),
        (80.4, sent("cancel", requestId="r4")),
        (80.5, LATE),
        (81.0, sent("message", requestId="r5", content="more")),
        (81.1, FULL),
        (82.0, sent("message", requestId="r6", content="lost")),
        (82.0, {"kind": "closed"}),
    ]


def _phone() -> list[tuple[float, Row]]:
    return [
        (79.0, opened(cursor="3", userId="ann")),
        (80.0, sent("message", requestId="r4", content="yes")),
        (80.1, frame("accepted", "r4", seq=4, duplicate=False)),
        (80.1, user("r4", 4, content="yes")),
        (80.2, reset("r4", 6)),
        (80.4, final("r4", 4, 6, YES)),
    ]


def _eve() -> list[tuple[float, Row]]:
    return [
        (5.0, opened(cursor="0", userId="eve")),
        (5.1, frame("gap", cursor=0, reason="unknown_cursor")),
        (5.2, sent("message", requestId="e1", content="what is going on here?")),
        (5.3, {"kind": "closed", "code": 4403}),
    ]


def _tables() -> dict[str, Any]:
    session = {"thread_id": "t", "user_id": "ann", "agent_id": "demo", "tries": 0, "deleted": False}
    return {
        "sessions": [session | {"applied_seq": 4, "log_index": 4, "run": 6, "head_event": 4, "acked": 3}],
        "events": [
            event(1, "r1", content="go"),
            event(2, "r2", content="do"),
            event(3, "timer:x/1", "timer_fired", timer_id="x", generation=1),
            event(4, "r4", content="yes"),
        ],
        "effects": [
            effect(1, 0, 1, "cancel_turn", text=HELD, attempt=1),
            effect(2, 0, 2, "send_message", text=DONE, attempt=4),
            effect(2, 1, None, "schedule_timer", after_s=60.0, timer_id="x"),
            effect(3, 0, 3, "send_message", text=AGAIN, attempt=5),
            effect(3, 1, None, "schedule_timer", after_s=60.0, timer_id="x"),
            effect(4, 0, 4, "send_message", text=YES, attempt=6),
        ],
        "timers": [
            {"thread_id": "t", "timer_id": "x", "generation": 1, "status": "fired"},
            {"thread_id": "t", "timer_id": "x", "generation": 2, "status": "cancelled"},
        ],
        "counts": {"t": {"checkpoints": 12, "checkpoint_blobs": 12}},
        "state_messages": {"t": ["e1", "m1", "e2", "m4", "m5", "e4", "m6"]},
    }


class Stops:
    """Rows that a test may change, and what the checker says of them."""

    def __init__(self) -> None:
        self.tab, self.phone, self.eve = deepcopy((_tab(), _phone(), _eve()))
        self.tables = _tables()
        self.calls = [
            Call("t", "e1", 1, 1.3, "cancelled", wrote=(HELD,)),
            Call("t", "e2", 2, 3.2, "retryable", wrote=()),
            Call("t", "e2", 3, 4.2, "lost", wrote=("Do",)),
            Call("t", "e2", 4, 6.1, "answered", wrote=(DONE,), answer=DONE),
            Call("t", "e3", 5, 70.0, "answered", wrote=(AGAIN,), answer=AGAIN),
            Call("t", "e4", 6, 80.2, "answered", wrote=(), answer=YES),
        ]
        self.faults = [Fault("kill", 5.0, 5.5, replica="one", costs_attempts=True)]
        self.settled = True
        self.complete = True

    def row(self, table: str, number: int = 0) -> Row:
        row: Row = self.tables[table][number]
        return row

    def told(self, trace: list[tuple[float, Row]], number: int) -> Row:
        """One line's frame."""
        told: Row = trace[number][1]["frame"]
        return told

    def history(self) -> History:
        sockets: list[Socket] = []
        for name, rows in (("tab", self.tab), ("phone", self.phone), ("eve", self.eve)):
            sockets += sockets_of(name, [msgspec.convert(row | {"at": at}, Line) for at, row in rows])
        return History(
            sockets=sockets,
            tables=Tables.of(self.tables),
            calls=self.calls,
            faults=self.faults,
            settled=self.settled,
            watched_to_the_end=frozenset({"tab", "phone", "eve"}),
            queue_limit=3,
            complete=self.complete,
        )

    def check(self) -> list[Violation]:
        return violations_of(self.history())

    def calls_again(self, number: int, **changes: Any) -> None:
        self.calls.append(replace(self.calls[number], **changes))


Change = Callable[[Stops], None]
