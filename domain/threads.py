"""Conversations as their owner lists them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from unbroken.domain.effects import CancelTurn, EffectBody, RequestInput, SendMessage
from unbroken.domain.events import EventBody, InputResponse, RunStart, UserMessage, said_by

MAX_TITLE: Final = 200
"""Characters of a title that somebody chose."""
DERIVED_TITLE: Final = 80
"""Characters of one made of the first message."""
OPENING: Final = 400
"""Characters of the first message that such a title is made of."""


class ThreadStatus(StrEnum):
    IDLE = "idle"
    BUSY = "busy"
    """A message is unfinished."""
    WAITING = "waiting"
    """The agent waits for an answer to its question."""


class Thread(Struct, frozen=True, rename="camel"):
    thread_id: str
    agent_id: str
    title: str
    """As somebody named it, else made of the first message; empty before that."""
    created_at: datetime
    updated_at: datetime
    """When it last said or was told something; renaming is not activity."""
    cursor: int
    """The log's end."""
    acked: int
    status: ThreadStatus


class Place(Struct, frozen=True, order=True):
    """Where a thread stands among its owner's, newest activity first."""

    updated_at: datetime
    thread_id: str


def derived_title(opening: str) -> str:
    """One line of the first message's text, with an ellipsis where it goes on."""
    line = " ".join(opening[:OPENING].split())
    return line if len(line) <= DERIVED_TITLE else line[: DERIVED_TITLE - 1].rstrip() + "…"


def status_of(*, unfinished: bool, asks: bool) -> ThreadStatus:
    if unfinished:
        return ThreadStatus.BUSY
    return ThreadStatus.WAITING if asks else ThreadStatus.IDLE


def said(body: EventBody | EffectBody) -> str:
    """What people read of an event or an effect, as far as it is text: what a search finds."""
    match body:
        case UserMessage() | RunStart():
            content = said_by(body)
            if isinstance(content, str):
                return content
            return " ".join(str(block.get("text", "")) for block in content if block.get("type") == "text")
        case InputResponse(value=value) | RequestInput(value=value):
            return value if isinstance(value, str) else ""
        case SendMessage(text=text) | CancelTurn(text=text):
            return text
        case _:
            return ""
