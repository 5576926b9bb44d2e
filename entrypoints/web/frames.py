"""The chat protocol's frames, as they are on the wire (docs/protocol.md).

Names are camelCase there, and a field that has nothing to say is absent; zero is something to say. Frames are
values: reading and writing them is codec.py's part, the order in which they come is the subscription's.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal, Self

from msgspec import UNSET, Struct, UnsetType

from unbroken.domain.events import WhenBusy

Content = str | list[dict[str, Any]]
"""Text, or LangChain content blocks: objects with a `type`."""


class Frame(Struct, frozen=True, rename="camel", tag_field="type", omit_defaults=True):
    """One JSON object in one text message of the socket."""


class MessageFrame(Frame, frozen=True, tag="message"):
    request_id: str
    content: Content
    thread_id: str | None = None
    """Must be the socket's thread, if given."""
    when_busy: WhenBusy | None = None
    """While an earlier message is unfinished: wait, be refused, or cancel it. Absent: as the agent is set."""
    replaces: str | None = None
    """Request id of an earlier message: the conversation goes on from before it."""


class RespondFrame(Frame, frozen=True, tag="respond"):
    request_id: str
    """Its own and new, not the request that asked."""
    interrupt_id: str
    value: Any


class CancelFrame(Frame, frozen=True, tag="cancel"):
    request_id: str
    """Of what to stop."""


class AckFrame(Frame, frozen=True, tag="ack"):
    cursor: int
    """The last cursor presented."""


ClientFrame = MessageFrame | RespondFrame | CancelFrame | AckFrame
CLIENT_FRAMES: tuple[type[Frame], ...] = (MessageFrame, RespondFrame, CancelFrame, AckFrame)


class AcceptedFrame(Frame, frozen=True, tag="accepted"):
    """The receipt: the event is durable."""

    request_id: str
    seq: int
    duplicate: bool


class UserFrame(Frame, frozen=True, tag="user"):
    """What a user said, or answered; precedes every other frame of its event but the receipt."""

    request_id: str
    seq: int
    created_at: datetime
    content: Content | UnsetType = UNSET
    replaces: str | UnsetType = UNSET
    """This message takes the place of that request and of everything after it."""
    interrupt_id: str | UnsetType = UNSET
    value: Any = UNSET
    """With `interrupt_id`, in place of `content`; null is a value."""


class ResetFrame(Frame, frozen=True, tag="reset"):
    """The text is now empty and belongs to `attempt`."""

    request_id: str
    attempt: int
    reason: Literal["started", "retry", "takeover", "resync"]


class TokenFrame(Frame, frozen=True, tag="token"):
    request_id: str
    value: str
    attempt: int
    offset: int
    """Where `value` starts, in UTF-16 code units of the attempt's one text."""
    message_id: str


class ToolFrame(Frame, frozen=True, tag="tool"):
    request_id: str
    attempt: int
    offset: int
    """Where in the text the tool was called."""
    tool_call_id: str
    name: str
    phase: Literal["started", "finished", "failed"]
    data: Any = UNSET
    namespace: list[str] | UnsetType = UNSET
    """The subgraph that calls it, `node:task` each on the way down; absent: the root graph."""


class CustomFrame(Frame, frozen=True, tag="custom"):
    """What an agent's code wrote into the stream."""

    request_id: str
    attempt: int
    offset: int
    """How long the text was."""
    namespace: list[str]
    """The subgraph it was written in, `node:task` each on the way down; empty: the root graph."""
    value: Any


class ReasoningFrame(Frame, frozen=True, tag="reasoning"):
    """A piece of what a model thought before it spoke."""

    request_id: str
    attempt: int
    offset: int
    message_id: str
    namespace: list[str]
    value: str


class AsideFrame(Frame, frozen=True, tag="aside"):
    """A piece of what a subgraph's model said; no part of the text, as long as it is not part of the answer."""

    request_id: str
    attempt: int
    offset: int
    message_id: str
    namespace: list[str]
    value: str


class CancellingFrame(Frame, frozen=True, tag="cancelling"):
    request_id: str


class FinalFrame(Frame, frozen=True, tag="final"):
    """The answer, durable; replaces what was shown."""

    cursor: int
    request_id: str
    message: str
    content: list[dict[str, Any]]
    """The turn's messages from the committed state."""
    attempt: int
    latency_ms: int
    """From acceptance to the finishing commit."""
    origin: Literal["user", "agent"]
    """`agent`: a follow-up that nobody asked for."""
    waiting: bool
    """Questions follow."""
    revised: bool
    """`message` differs from what was streamed."""
    token_usage: dict[str, int] | UnsetType = UNSET


class QuestionFrame(Frame, frozen=True, tag="question"):
    cursor: int
    request_id: str
    interrupt_id: str
    value: Any


class AnsweredFrame(Frame, frozen=True, tag="answered"):
    cursor: int
    interrupt_id: str
    outcome: Literal["answered", "superseded", "cancelled"]


class CancelledFrame(Frame, frozen=True, tag="cancelled"):
    cursor: int
    request_id: str
    message: str
    """What was shown."""


class ErrorFrame(Frame, frozen=True, tag="error"):
    """A refusal; with a cursor, the durable end of a turn."""

    code: str
    """One of `ErrorCode`; a newer server may know more."""
    message: str
    retryable: bool
    cursor: int | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    """Where in the refused frame, e.g. `content[0].type`."""


class GapFrame(Frame, frozen=True, tag="gap"):
    """What lies before `cursor` is not sent: reload the history and go on from there."""

    cursor: int
    reason: Literal["retained", "too_far", "unknown_cursor"]


ServerFrame = (
    AcceptedFrame
    | UserFrame
    | ResetFrame
    | TokenFrame
    | ToolFrame
    | CustomFrame
    | ReasoningFrame
    | AsideFrame
    | CancellingFrame
    | FinalFrame
    | QuestionFrame
    | AnsweredFrame
    | CancelledFrame
    | ErrorFrame
    | GapFrame
)
SERVER_FRAMES: tuple[type[Frame], ...] = (
    AcceptedFrame,
    UserFrame,
    ResetFrame,
    TokenFrame,
    ToolFrame,
    CustomFrame,
    ReasoningFrame,
    AsideFrame,
    CancellingFrame,
    FinalFrame,
    QuestionFrame,
    AnsweredFrame,
    CancelledFrame,
    ErrorFrame,
    GapFrame,
)


class ErrorCode(StrEnum):
    """Why something was refused, or how a turn failed; `advice` is what a client should do about it."""

    advice: str
    kind: Literal["refused", "later", "end"]

    def __new__(cls, code: str, kind: Literal["refused", "later", "end"], advice: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.kind = kind
        member.advice = advice
        return member

    @property
    def retryable(self) -> bool:
        """The very same frame may succeed later."""
        return self.kind == "later"

    BAD_JSON = "bad_json", "refused", "Fix the client: the frame is not one JSON text."
    BAD_FRAME = "bad_frame", "refused", "Fix the client: `path` names the field, `message` what it must be."
    UNKNOWN_TYPE = "unknown_type", "refused", "Do not send this type: this server does not take it."
    TOO_LONG = "too_long", "refused", "Shorten the content; the message names the limit."
    EMPTY = "empty", "refused", "Send something: the content holds nothing but white space."
    WRONG_THREAD = "wrong_thread", "refused", "Send it over the socket of that thread."
    CONFLICT = "conflict", "refused", "Use a new `requestId`: this one stands for another content."
    UNKNOWN_REQUEST = "unknown_request", "refused", "Nothing to stop: no such request was accepted in this thread."
    ALREADY_ENDED = "already_ended", "refused", "Nothing to stop: its end is in the log."
    UNKNOWN_FILE = "unknown_file", "refused", "Attach the file to this thread first; the message names it."
    TOO_MANY_THREADS = "too_many_threads", "refused", "Delete a thread first: a user may have only so many."
    NOT_ALLOWED = "not_allowed", "refused", "Do not ask again: the project's rules do not let this user do it."
    ACK_AHEAD = "ack_ahead", "refused", "Fix the client: acknowledge only cursors that were received."
    THREAD_DELETED = "thread_deleted", "refused", "Stop using the thread."
    QUEUE_FULL = "queue_full", "later", "Send again, with the same `requestId`, after a waiting message was answered."
    BUSY = "busy", "later", "Send again when the thread is idle, or let it wait (`whenBusy`)."
    UNAVAILABLE = "unavailable", "later", "Send again with the same `requestId`, with backoff."
    TOO_FAST = "too_fast", "later", "Slow down, then send again with the same `requestId`."
    MODEL_FAILED = "model_failed", "end", "Show it. The message is in the log; the user may ask again."
    TIMED_OUT = "timed_out", "end", "Show it; the user may ask again."
    POISONED = "poisoned", "end", "Show it. Do not send the same again: each try at it ended without an answer."
    ANSWER_TOO_LONG = "answer_too_long", "end", "Show it; ask for less."
    BRANCH_GONE = "branch_gone", "end", "Show it: the conversation cannot be taken back that far."
    QUESTION_CLOSED = "question_closed", "end", "Show it: the question was answered or superseded before."


class CloseCode(IntEnum):
    """Why the server closed the socket; `advice` is what a client should do about it."""

    meaning: str
    advice: str
    reconnects: Literal["now", "backoff", "never"]

    def __new__(cls, code: int, reconnects: Literal["now", "backoff", "never"], meaning: str, advice: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.reconnects = reconnects
        member.meaning = meaning
        member.advice = advice
        return member

    @classmethod
    def of(cls, code: int) -> CloseCode | None:
        """None: not one of ours; reconnect with backoff."""
        return next((known for known in cls if known == code), None)

    NORMAL = 1000, "never", "normal", "Nothing."
    BAD_TEXT = 1007, "never", "invalid UTF-8", "Fix the client."
    TOO_BIG = 1009, "never", "a frame over the limit", "Fix the client: do not send that frame again."
    RESTARTING = 1012, "now", "the server restarts", "Reconnect now, with resume."
    OVERLOADED = 1013, "backoff", "overloaded, or this reader stalled", "Reconnect with backoff and resume."
    BAD_QUERY = 4400, "never", "bad query", "Fix the client: the reason names the parameter."
    NOT_AUTHENTICATED = 4401, "never", "not authenticated, or expired", "Authenticate, then reconnect with resume."
    NOT_YOUR_THREAD = 4403, "never", "not your thread", "Leave the thread alone."
    NO_SUCH_AGENT = 4404, "never", "no such agent", "Choose another agent."
    TOO_MANY = (
        4429,
        "backoff",
        "too many bad or too fast frames, or too many sockets of one user",
        "Fix the client, close a socket; reconnect with backoff.",
    )
