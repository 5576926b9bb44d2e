"""Facts that arrived. Immutable, append-only, numbered by `seq` without gaps per session (I3)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

ContentBlock = dict[str, Any]
"""One LangChain content block, e.g. `{"type": "text", "text": "…"}`."""


class UserMessage(Struct, frozen=True, tag="user_message", tag_field="type", omit_defaults=True):
    content: str | list[ContentBlock]
    replaces: str | None = None
    """Request id of an earlier message: the conversation goes on from before it. What followed it stays in the log."""
    user: dict[str, Any] | None = None
    """What a project's own `auth` said of whoever said it, for its graph."""
    config: dict[str, Any] = {}
    """What its rules have set of the run, as a run's."""
    context: Any = None
    """As `config`."""


class InputResponse(Struct, frozen=True, tag="input_response", tag_field="type", omit_defaults=True):
    """A user's answer to an agent's question."""

    interrupt_id: str
    value: Any
    user: dict[str, Any] | None = None
    """As a message's."""
    config: dict[str, Any] = {}
    context: Any = None


class TimerFired(Struct, frozen=True, tag="timer_fired", tag_field="type"):
    """A timer that an agent set came due, and no user's message had cancelled it (I10)."""

    timer_id: str
    generation: int
    payload: Any = None


class RunStart(Struct, frozen=True, tag="run_start", tag_field="type", omit_defaults=True):
    """A run of the agent's graph as LangGraph's own clients ask for it: any input, not only a message.

    Everything that shapes the run is in the event, so that whoever takes it over runs the same.
    """

    input: Any = None
    """Plain JSON as the graph's input. None, and no command: go on from where the state stands."""
    command: dict[str, Any] | None = None
    """LangGraph's `Command` as plain JSON: any of `resume`, `update`, `goto`."""
    config: dict[str, Any] = {}
    """`recursion_limit`, `tags`, `configurable`: the caller's, never what names a thread, a user or a checkpoint."""
    context: Any = None
    metadata: dict[str, Any] = {}
    checkpoint_id: str | None = None
    """Of the root: the conversation goes on from there (a fork). What followed it stays in the log. Empty: the head."""
    interrupt_before: str | list[str] | None = None
    """Node names, or "*": stops before them, besides where the graph stops by itself."""
    interrupt_after: str | list[str] | None = None
    user: dict[str, Any] | None = None
    """As a message's."""
    rich: bool = False
    """Record what LangGraph's stream modes yield as well, for clients that follow those."""
    client: dict[str, Any] = {}
    """What the caller's client is to be told of the run later; nothing of it shapes the run."""

    @property
    def resume(self) -> Any:
        """The answer to what the agent asked; None: it gives none."""
        return self.command.get("resume") if self.command else None

    @property
    def temporary(self) -> bool:
        """Its thread was made for it alone, and goes when it has ended."""
        return bool(self.client.get("temporary"))


class StateUpdate(Struct, frozen=True, tag="state_update", tag_field="type", omit_defaults=True):
    """Somebody writes the agent's state, in its order among the turns, as if a node had returned `values`."""

    values: Any = None
    as_node: str | None = None
    checkpoint_id: str | None = None
    """Of the root: where the new state branches off; None or empty: the head."""
    user: dict[str, Any] | None = None
    """As a message's."""


EventBody = UserMessage | InputResponse | TimerFired | RunStart | StateUpdate

FROM_USERS = (UserMessage, InputResponse, RunStart)
MESSAGES = (UserMessage, RunStart)
"""What may push unfinished events aside (`WhenBusy`)."""


def said_by(body: UserMessage | RunStart) -> str | list[ContentBlock]:
    """What people see of it: a message's content, a run's last message from a human, or its input as JSON."""
    if isinstance(body, UserMessage):
        return body.content
    given = body.input.get("messages") if isinstance(body.input, dict) else None
    for message in reversed(given) if isinstance(given, list) else ():
        if isinstance(message, dict) and (message.get("type") or message.get("role")) in ("human", "user"):
            content = message.get("content")
            if isinstance(content, str) or (isinstance(content, list) and all(isinstance(b, dict) for b in content)):
                return content
    shown = body.command if body.input is None else body.input
    return "" if shown is None else msgspec.json.encode(shown).decode()


def text_of(content: Any) -> str:
    """What a person reads of a message's content, in whatever form agents and providers hold it: a text, or a list's
    text blocks and bare texts. Of other blocks nothing is said, though they may have a `text`: a thought, a file's, a
    call's; and no text is made of what is none."""
    if isinstance(content, str):
        return content
    texts = [
        block.get("text") if isinstance(block, dict) and block.get("type") == "text" else block
        for block in (content if isinstance(content, list | tuple) else ())
    ]
    return "".join(text for text in texts if isinstance(text, str))


class WhenBusy(StrEnum):
    """What a message does that comes while the session has unfinished events ("double texting")."""

    ENQUEUE = "enqueue"
    """Wait for them."""
    REJECT = "reject"
    """Be refused."""
    INTERRUPT = "interrupt"
    """Cancel them; what was shown stays in the conversation."""
    ROLLBACK = "rollback"
    """Cancel them as if they had never been said."""


class NewEvent(Struct, frozen=True):
    """What a caller hands to `EventStore.accept`."""

    id: str
    """Ours: time-ordered, globally unique; also the message id that the graph sees."""
    request_id: str
    """The caller's idempotency key: unique per thread (I2)."""
    body: EventBody
    trace_context: dict[str, str] = {}
    waited_s: float | None = None
    """How long ago it had come, when it was handed over; None: nobody measured that."""

    @property
    def from_user(self) -> bool:
        return isinstance(self.body, FROM_USERS)


class Event(Struct, frozen=True):
    """An accepted event."""

    seq: int
    id: str
    request_id: str
    body: EventBody
    created_at: datetime
    trace_context: dict[str, str] = {}

    @property
    def from_user(self) -> bool:
        return isinstance(self.body, FROM_USERS)


def body_hash(body: EventBody) -> bytes:
    """SHA-256 of the body's canonical JSON: what "the same id with another body" is decided by. Who said it is the
    thread's user in any case; what is known of them may have changed since it was sent first, a token's end for one,
    and so may what a project's rules set of a chat's run."""
    if not isinstance(body, TimerFired) and body.user is not None:
        body = replace(body, user=None)
    if isinstance(body, UserMessage | InputResponse):
        body = replace(body, config={}, context=None)
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).digest()
