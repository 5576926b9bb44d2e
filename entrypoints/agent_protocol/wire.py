"""What goes over the wire, as `langchain-protocol` types it. Reading and writing it is codec.py's part.

Unknown fields are ignored, and absent is not null.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

Namespace = list[str]

CHANNELS: Final = frozenset(
    {"values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"}
)
CUSTOM: Final = "custom:"
"""Prefix of a channel that asks for the custom events of one name."""


class ErrorCode(StrEnum):
    """Why a command was refused."""

    INVALID_ARGUMENT = "invalid_argument"
    UNKNOWN_COMMAND = "unknown_command"
    UNKNOWN_ERROR = "unknown_error"
    """Sending the same again may help."""
    NO_SUCH_RUN = "no_such_run"
    NO_SUCH_SUBSCRIPTION = "no_such_subscription"
    NO_SUCH_NAMESPACE = "no_such_namespace"
    NO_SUCH_INTERRUPT = "no_such_interrupt"
    NO_SUCH_CHECKPOINT = "no_such_checkpoint"
    PERMISSION_DENIED = "permission_denied"
    NOT_SUPPORTED = "not_supported"


class Command(Struct, frozen=True):
    """`params` are read once the method is known."""

    id: int
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


class Filter(Struct, frozen=True):
    """Which events a subscription wants."""

    channels: list[str]
    namespaces: list[Namespace] | None = None
    """Prefixes; None: any namespace."""
    depth: int | None = None
    """How many levels below a prefix; None: all."""


class EventStreamRequest(Filter, frozen=True):
    since: int | None = None
    """The highest `seq` that the client has seen."""


class Reconnect(Struct, frozen=True):
    """Either the filter again and a `since`, or subscriptions of this very socket to go on with."""

    channels: list[str] | None = None
    namespaces: list[Namespace] | None = None
    depth: int | None = None
    since: int | None = None
    subscription_id: str | None = None
    run_id: str | None = None
    last_event_id: str | None = None
    subscriptions: list[str] | None = None


class Unsubscribe(Struct, frozen=True):
    subscription_id: str


class RunStartParams(Struct, frozen=True):
    assistant_id: str
    input: Any = None
    config: dict[str, Any] | None = None
    context: Any = None
    metadata: dict[str, Any] | None = None
    multitask_strategy: str | None = None
    multitaskStrategy: str | None = None  # noqa: N815  # as older clients spell it


class Response(Struct, frozen=True):
    interrupt_id: str
    response: Any = None
    namespace: Namespace = []


class InputRespond(Struct, frozen=True):
    """One answer, or several in `responses`."""

    interrupt_id: str | None = None
    response: Any = None
    namespace: Namespace = []
    responses: list[Response] | None = None
    update: Any = None
    goto: Any = None
    config: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class RunCancel(Struct, frozen=True):
    run_id: str | None = None
    """None: whatever runs or waits."""


class StateGet(Struct, frozen=True):
    namespace: Namespace = []
    keys: list[str] | None = None


class ListCheckpoints(Struct, frozen=True):
    """The newest first."""

    namespace: Namespace = []
    limit: int = 10
    before: str | None = None
    """Below this checkpoint."""


class StateFork(Struct, frozen=True):
    checkpoint_id: str
    input: Any = None
    config: dict[str, Any] | None = None


class Nothing(Struct, frozen=True):
    """No parameters."""


PARAMS: Final[dict[str, type[Struct]]] = {
    "run.start": RunStartParams,
    "run.cancel": RunCancel,
    "input.respond": InputRespond,
    "subscription.subscribe": EventStreamRequest,
    "subscription.unsubscribe": Unsubscribe,
    "subscription.reconnect": Reconnect,
    "state.get": StateGet,
    "state.listCheckpoints": ListCheckpoints,
    "state.fork": StateFork,
    "agent.getTree": Nothing,
}
"""Commands that are served, and what each asks for."""

NOT_SUPPORTED: Final = frozenset({"input.inject"})
"""Of the protocol, and not served here."""


class Meta(Struct, frozen=True):
    applied_through_seq: int
    """Everything up to here was before the command."""


class Success(Struct, frozen=True, tag="success", tag_field="type"):
    id: int
    result: Any
    meta: Meta | UnsetType = UNSET


class Failure(Struct, frozen=True, tag="error", tag_field="type"):
    id: int | None
    """None: of no command."""
    error: ErrorCode
    message: str


class EventParams(Struct, frozen=True):
    namespace: tuple[str, ...]
    timestamp: int
    """Milliseconds since 1970."""
    data: Any
    node: str | UnsetType = UNSET


class Event(Struct, frozen=True, tag="event", tag_field="type"):
    event_id: str
    """The same wherever and however often the event is told: clients drop what they have seen."""
    seq: int
    """Grows within the thread, over restarts and replicas; not gap-free."""
    method: str
    params: EventParams

    @property
    def channel(self) -> str:
        if self.method in ("input.requested", "input.answered"):
            return "input"
        if self.method == "custom" and isinstance(self.params.data, dict) and self.params.data.get("name"):
            return f"{CUSTOM}{self.params.data['name']}"
        return self.method
