"""What an AG-UI front end sends to have an agent run, and the run that is made of it.

A front end sends the whole conversation each time. What the agent has not heard yet is what follows its last message:
that becomes the run's input, each message under the id that the front end gave it, so that a message which comes
again replaces itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from unbroken.domain.events import ContentBlock
from unbroken.entrypoints.langgraph_api.answers import invalid
from unbroken.entrypoints.langgraph_api.run_bodies import Asked

TOOLS: Final = "ag_ui_tools"
CONTEXT: Final = "ag_ui_context"
FORWARDED: Final = "ag_ui_forwarded_props"
"""Where a graph finds in its `configurable` what the front end offers and tells beside the conversation."""
HEARD: Final = frozenset({"user", "tool", "system", "developer"})
"""Roles of messages that an agent is given. What it thought and did is its own (`reasoning`, `activity`)."""
SHOWN: Final = HEARD | {"assistant"}
MEDIA: Final = {"image": "image", "audio": "audio", "video": "video", "document": "file"}


class Source(Struct, frozen=True, rename="camel"):
    type: Literal["data", "url", "file"]
    value: str
    mime_type: str | None = None


class ContentPart(Struct, frozen=True, rename="camel"):
    type: str
    text: str | None = None
    source: Source | None = None


class Message(Struct, frozen=True, rename="camel"):
    id: str
    role: str
    content: str | list[ContentPart] | dict[str, Any] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    error: str | None = None


class ResumeEntry(Struct, frozen=True, rename="camel"):
    interrupt_id: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None


class RunAgentInput(Struct, frozen=True, rename="camel"):
    thread_id: str
    run_id: str
    messages: list[Message] = []
    state: Any = None
    tools: list[dict[str, Any]] = []
    context: list[dict[str, Any]] = []
    forwarded_props: Any = None
    resume: list[ResumeEntry] = []

    def __post_init__(self) -> None:
        for name, value in (("threadId", self.thread_id), ("runId", self.run_id)):
            if not 1 <= len(value) <= 128:
                raise ValueError(f"{name} must be 1 to 128 characters long")


def asked_of(given: RunAgentInput, assistant_id: str, *, state: dict[str, Any]) -> Asked | None:
    """`state`: what of the front end's state the thread does not hold yet. None: there is nothing new to run for.
    Raises Problem."""
    heard = _unheard(given.messages)
    update = {**state, **({"messages": [_message(message) for message in heard]} if heard else {})}
    configurable = {
        name: value
        for name, value in ((TOOLS, given.tools), (CONTEXT, given.context), (FORWARDED, given.forwarded_props))
        if value
    }
    config = {"configurable": configurable} if configurable else None
    if given.resume:
        answers = {entry.interrupt_id: entry.payload if entry.status == "resolved" else None for entry in given.resume}
        command = {"resume": answers, **({"update": update} if update else {})}
        return Asked(assistant_id, command=command, config=config, if_not_exists="create")
    if not heard:
        return None
    return Asked(assistant_id, input=update, config=config, if_not_exists="create")


def goes_back_to(given: RunAgentInput, shown: Sequence[dict[str, Any]]) -> list[str] | None:
    """The ids of what stays before what is said anew, where a front end has an earlier message answered again: then it
    sends the conversation up to that one. `shown`: the thread's messages. None: it goes on where the thread is."""
    ids = [message.id for message in given.messages if message.role in SHOWN]
    known = [message["id"] for message in shown]
    last = given.messages[-1] if given.messages else None
    if given.resume or last is None or last.role != "user" or len(ids) >= len(known) or ids != known[: len(ids)]:
        return None
    anew = {message.id for message in _unheard(given.messages)}
    return [id_ for id_ in ids if id_ not in anew]


def _unheard(messages: list[Message]) -> list[Message]:
    last = max((index for index, message in enumerate(messages) if message.role == "assistant"), default=-1)
    return [message for message in messages[last + 1 :] if message.role in HEARD]


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    if message.role == "tool":
        if message.tool_call_id is None:
            raise invalid(f"message {message.id!r}: a tool's message needs a toolCallId")
        told = {"type": "tool", "id": message.id, "tool_call_id": message.tool_call_id, "content": _content(message)}
        return told | {"status": "error" if message.error else "success"}
    if message.role != "user":
        return {"type": "system", "id": message.id, "content": content if isinstance(content, str) else ""}
    named = {"name": message.name} if message.name else {}
    return {"type": "human", "id": message.id, "content": _content(message), **named}


def _content(message: Message) -> str | list[ContentBlock]:
    if isinstance(message.content, str):
        return message.content
    if not isinstance(message.content, list):
        raise invalid(f"message {message.id!r}: content must be a text, or a list of parts")
    return [_block(message, part) for part in message.content]


def _block(message: Message, part: ContentPart) -> ContentBlock:
    if part.type == "text":
        return {"type": "text", "text": part.text or ""}
    kind, source = MEDIA.get(part.type), part.source
    if kind is None or source is None:
        raise invalid(f"message {message.id!r}: a part of type {part.type!r} is not known, or has no source")
    mime_type = {"mime_type": source.mime_type} if source.mime_type else {}
    field = {"data": "base64", "url": "url", "file": "file_id"}[source.type]
    return {"type": kind, field: source.value, **mime_type}
