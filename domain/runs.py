"""What came of an event, as whoever started it sees it: a run. Its id is the event's.

    pending ──its attempt is counted──▶ running ──▶ answered │ asking │ cancelled │ failed │ timed_out
                                           │  ▲
                                           └──┘ every further attempt

Nothing is stored of a run: event, session and effects tell all of it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from unbroken.domain.effects import EffectBody, ReportFailure, SendMessage, SkipEvent
from unbroken.domain.errors import TimedOut
from unbroken.domain.events import EventBody

NO_RUNS: Final = ("state_update",)
"""Types of events that have their place in the order of a thread's runs, and are none."""
ENDS: Final = ("send_message", "cancel_turn", "report_failure", "skip_event")
"""Types of the effects one of which every event ends with."""


class RunState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    ANSWERED = "answered"
    ASKING = "asking"
    """It ended by asking somebody, or at a breakpoint."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    TIMED_OUT = "timed_out"

    @property
    def ended(self) -> bool:
        return self not in (RunState.PENDING, RunState.RUNNING)


class Run(Struct, frozen=True):
    id: str
    thread_id: str
    agent_id: str
    seq: int
    request_id: str
    body: EventBody
    created_at: datetime
    state: RunState
    ended_at: datetime | None = None
    attempt: int | None = None
    """Of its end, or the one that runs; None: none was counted, or nobody knows its number."""
    checkpoint_id: str | None = None
    """The root head that its end has left; None: it has not ended, or left none."""
    log_index: int | None = None
    """Where its end stands in the log; questions that it asks follow there."""
    code: str | None = None
    """Of a failure."""
    message: str | None = None


def state_of(end: EffectBody | None, *, running: bool) -> RunState | None:
    """`end`: the effect that the event ended with; None: it has not. None for what ended unstarted: no run."""
    match end:
        case None:
            return RunState.RUNNING if running else RunState.PENDING
        case SkipEvent():
            return None
        case SendMessage(waiting=waiting):
            return RunState.ASKING if waiting else RunState.ANSWERED
        case ReportFailure(code=code):
            return RunState.TIMED_OUT if code == TimedOut.code else RunState.FAILED
        case _:
            return RunState.CANCELLED
