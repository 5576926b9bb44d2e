"""What is owed to the world because of an event.

    pending ──first written to a socket, or claimed──▶ executing ──acknowledged, or done──▶ completed
       ▲                                                   │
       └────────────── failed once, backoff ───────────────┴── N failures ──▶ failed (dead letter)

Effects that clients see carry a `log_index`, the client's cursor; they have no attempt limit. For those, the
status follows from two marks of the session (what was sent, what was acknowledged), so no row is rewritten.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct

from unbroken.domain.events import ContentBlock, Event


class EffectStatus(StrEnum):
    PENDING = "pending"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"


class SendMessage(Struct, frozen=True, tag="send_message", tag_field="type"):
    """The whole answer of a turn; replaces everything that was streamed provisionally."""

    text: str
    content: list[ContentBlock]
    """The turn's messages from the committed state: `{"id", "role", "content", "tool_calls"?}` each."""
    attempt: int
    latency_ms: int
    """From the event's acceptance to the finishing commit."""
    token_usage: dict[str, int] | None = None
    origin: Literal["user", "agent"] = "user"
    waiting: bool = False
    """Questions follow: the turn finished by asking."""
    revised: bool = False
    """The committed text differs from what was streamed."""


class RequestInput(Struct, frozen=True, tag="request_input", tag_field="type"):
    interrupt_id: str
    value: Any


class CloseQuestion(Struct, frozen=True, tag="close_question", tag_field="type"):
    """A question that was asked is not open any more."""

    interrupt_id: str
    outcome: Literal["answered", "superseded", "cancelled"]


class CancelTurn(Struct, frozen=True, tag="cancel_turn", tag_field="type"):
    """The user stopped the turn."""

    text: str
    """What was shown, and stays in the conversation; empty if the event was forgotten."""
    attempt: int


class ReportFailure(Struct, frozen=True, tag="report_failure", tag_field="type"):
    code: str
    message: str
    attempt: int
    retryable: bool = False


class ScheduleTimer(Struct, frozen=True, tag="schedule_timer", tag_field="type"):
    """Wake this session `after_s` seconds after the commit, unless a user's message comes first."""

    after_s: float
    payload: Any = None
    timer_id: str = ""
    """Empty: derived from the effect's dedupe key. Setting a named timer again replaces it."""


class SkipEvent(Struct, frozen=True, tag="skip_event", tag_field="type", omit_defaults=True):
    """The event ended without anything that people see: nobody was waiting for it, or it only changed the state."""

    reason: str
    code: str | None = None
    """Why it came to nothing, if it did: a failure's code, or CANCELLED. Whoever asked for it is told, nobody else."""
    stands: bool | None = None
    """Of a change of the state: whether something is to run next from where it has left the agent. None: it is none, or
    came to nothing."""


LoggedBody = SendMessage | RequestInput | CloseQuestion | CancelTurn | ReportFailure
EffectBody = LoggedBody | ScheduleTimer | SkipEvent
CANCELLED = "cancelled"
LOGGED = (SendMessage, RequestInput, CloseQuestion, CancelTurn, ReportFailure)


class NewEffect(Struct, frozen=True):
    """An effect as the processor hands it to the finishing commit."""

    id: str
    ordinal: int
    body: EffectBody
    dedupe_key: str

    @property
    def logged(self) -> bool:
        return isinstance(self.body, LOGGED)


class LogEntry(Struct, frozen=True):
    """One entry of the log: what clients see, in order, gap-free (I3)."""

    log_index: int
    event: Event
    body: LoggedBody
    trace_context: dict[str, str] = {}
    """Of the commit that owed it."""

    @property
    def attempt(self) -> int | None:
        """Which attempt ended the event. None: this entry does not say; another one of the event does."""
        return None if isinstance(self.body, RequestInput | CloseQuestion) else self.body.attempt


class EffectClaim(Struct, frozen=True):
    """The right to execute one unlogged effect until `claimed_until`; `claim_no` fences late finishers."""

    thread_id: str
    event_seq: int
    ordinal: int
    body: EffectBody
    dedupe_key: str
    claim_no: int
    attempt_count: int
    """Counts this attempt."""
    created_at: datetime
    trace_context: dict[str, str] = {}
    """Of the commit that owed it."""


def dedupe_key(event_id: str, node_path: str, occurrence: int, ordinal: int, kind: str) -> str:
    """Stable identity of an effect (F2): never from the model's words, a clock, or an id that a repeat makes anew."""
    return f"{event_id}/{node_path}/{occurrence}/{ordinal}/{kind}"
