"""Deliveries as frames: the one place where the domain's words become the wire's."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from unbroken.application.deliveries import (
    Delivery,
    ShowGap,
    ShowLogged,
    ShowReset,
    ShowStep,
    ShowText,
    ShowTool,
    ShowUser,
)
from unbroken.domain.effects import CancelTurn, CloseQuestion, LogEntry, ReportFailure, RequestInput, SendMessage
from unbroken.domain.events import Event, InputResponse, RunStart, UserMessage, said_by
from unbroken.domain.growing import GROWS
from unbroken.domain.stream_parts import StepPart
from unbroken.entrypoints.web.frames import (
    AnsweredFrame,
    AsideFrame,
    CancelledFrame,
    CustomFrame,
    ErrorFrame,
    FinalFrame,
    GapFrame,
    QuestionFrame,
    ReasoningFrame,
    ResetFrame,
    ServerFrame,
    TokenFrame,
    ToolFrame,
    UserFrame,
)

T = TypeVar("T")

STEPS: Final = GROWS | {"custom"}
MAX_STEP_BYTES: Final = 256 << 10
"""Of one step's JSON: what is longer is not for people to read."""


def frame_of(delivery: Delivery) -> ServerFrame | None:
    """None: nothing that chat frames tell."""
    match delivery:
        case ShowText(request_id, attempt, part):
            return TokenFrame(
                request_id=request_id, value=part.text, attempt=attempt, offset=part.offset, message_id=part.message_id
            )
        case ShowLogged(entry):
            return logged_frame(entry)
        case ShowUser(event):
            return user_frame(event)
        case ShowReset(request_id, attempt, reason):
            return ResetFrame(request_id=request_id, attempt=attempt, reason=reason)
        case ShowTool(request_id, attempt, part):
            return ToolFrame(
                request_id=request_id,
                attempt=attempt,
                offset=part.offset,
                tool_call_id=part.tool_call_id,
                name=part.name,
                phase=part.phase,
                data=_or_unset(part.data),
                namespace=list(part.namespace) or UNSET,
            )
        case ShowStep(request_id, attempt, part):
            return _step_frame(request_id, attempt, part)
        case ShowGap(cursor, reason):
            return GapFrame(cursor=cursor, reason=reason)


def _step_frame(request_id: str, attempt: int, part: StepPart) -> ServerFrame | None:
    """None: of a method that chat frames do not tell, or longer than a socket's buffer."""
    if part.method not in STEPS or part.data is None or len(part.data) > MAX_STEP_BYTES:
        return None
    said = msgspec.json.decode(part.data)
    place: dict[str, Any] = {
        "request_id": request_id,
        "attempt": attempt,
        "offset": part.offset,
        "namespace": list(part.namespace),
    }
    if part.method == "custom":
        return CustomFrame(**place, value=said)
    frame = ReasoningFrame if part.method == "reasoning" else AsideFrame
    return frame(**place, message_id=said["messageId"], value=said["text"])


def _or_unset(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def user_frame(event: Event) -> UserFrame:
    match event.body:
        case UserMessage(content, replaces):
            return UserFrame(
                request_id=event.request_id,
                seq=event.seq,
                created_at=event.created_at,
                content=content,
                replaces=_or_unset(replaces),
            )
        case InputResponse(interrupt_id, value):
            return UserFrame(
                request_id=event.request_id,
                seq=event.seq,
                created_at=event.created_at,
                interrupt_id=interrupt_id,
                value=value,
            )
        case RunStart() as body:
            return UserFrame(
                request_id=event.request_id, seq=event.seq, created_at=event.created_at, content=said_by(body)
            )
    raise AssertionError(f"{event.body} is not a user's event")


def logged_frame(entry: LogEntry) -> ServerFrame:
    request_id = entry.event.request_id
    match entry.body:
        case SendMessage() as body:
            return FinalFrame(
                request_id=request_id,
                message=body.text,
                content=body.content,
                attempt=body.attempt,
                latency_ms=body.latency_ms,
                token_usage=_or_unset(body.token_usage),
                origin=body.origin,
                waiting=body.waiting,
                revised=body.revised,
                cursor=entry.log_index,
            )
        case RequestInput(interrupt_id, value):
            return QuestionFrame(cursor=entry.log_index, request_id=request_id, interrupt_id=interrupt_id, value=value)
        case CloseQuestion(interrupt_id, outcome):
            return AnsweredFrame(cursor=entry.log_index, interrupt_id=interrupt_id, outcome=outcome)
        case CancelTurn(text=text):
            return CancelledFrame(cursor=entry.log_index, request_id=request_id, message=text)
        case ReportFailure() as body:
            return ErrorFrame(
                code=body.code,
                message=body.message,
                retryable=body.retryable,
                request_id=request_id,
                cursor=entry.log_index,
            )
