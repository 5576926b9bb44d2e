"""Finished messages as content-block events: what the log holds of a turn, in the words of the protocol.

Each event has a name within its attempt (`part`) that is the same for the live event and for this one: a client that
has seen it live drops it, and one that has seen half a message is given its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

ROLES: Final = {"assistant": "ai", "user": "human", "system": "system"}
BLOCKS: Final = frozenset({"text", "reasoning", "image", "audio", "video", "file", "non_standard"})


class Piece(Struct, frozen=True):
    method: str
    part: str
    data: dict[str, Any]


def started(message_id: str, role: str = "ai") -> Piece:
    data = {"event": "message-start", "role": role, "id": message_id, "message_id": message_id}
    return Piece("messages", f"{message_id}.start", data)


def block_started(message_id: str, index: int, content: dict[str, Any]) -> Piece:
    data = {"event": "content-block-start", "index": index, "content": content, "message_id": message_id}
    return Piece("messages", f"{message_id}.{index}.start", data)


def block_finished(message_id: str, index: int, content: dict[str, Any]) -> Piece:
    data = {"event": "content-block-finish", "index": index, "content": content, "message_id": message_id}
    return Piece("messages", f"{message_id}.{index}.finish", data)


def finished(message_id: str, usage: dict[str, int] | None = None) -> Piece:
    data: dict[str, Any] = {"event": "message-finish", "message_id": message_id}
    if usage:
        data["usage"] = usage
    return Piece("messages", f"{message_id}.finish", data)


def broke_off(message_id: str | None, message: str) -> Piece:
    """Without an id: whatever message the client has open."""
    data = {"event": "error", "message": message, "code": "superseded"}
    if message_id is not None:
        data["message_id"] = message_id
    return Piece("messages", f"{message_id or ''}.error", data)


def tool_started(tool_call_id: str, name: str, given: Any) -> Piece:
    data = {"event": "tool-started", "tool_call_id": tool_call_id, "tool_name": name, "input": given}
    return Piece("tools", f"tool.{tool_call_id}.start", data)


def tool_ended(tool_call_id: str, output: Any, *, failed: bool) -> Piece:
    if failed:
        shown = output if isinstance(output, str) else str(output)
        data = {"event": "tool-error", "tool_call_id": tool_call_id, "message": shown}
    else:
        data = {"event": "tool-finished", "tool_call_id": tool_call_id, "output": output}
    return Piece("tools", f"tool.{tool_call_id}.finish", data)


def finished_turn(content: Sequence[dict[str, Any]], usage: dict[str, int] | None) -> Iterator[Piece]:
    """A turn's messages, with what their tools were given and gave. `usage` is the turn's, and so a message's only
    where there is one."""
    spoken = [message for message in content if message.get("role") == "assistant"]
    calls: dict[str, dict[str, Any]] = {}
    for message in content:
        message_id = str(message.get("id") or "")
        if message.get("role") == "assistant" and message_id:
            calls |= {str(call.get("id")): call for call in message.get("tool_calls") or ()}
            yield from _message(message_id, message, usage if len(spoken) == 1 else None)
        elif message.get("role") == "tool":
            yield from _tool(message, calls)


def _message(message_id: str, message: dict[str, Any], usage: dict[str, int] | None) -> Iterator[Piece]:
    yield started(message_id)
    for index, block in enumerate(_blocks(message)):
        yield block_started(message_id, index, block)
        yield block_finished(message_id, index, block)
    yield finished(message_id, usage)


def _blocks(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    parts = [content] if isinstance(content, str) else content or []
    for part in parts:
        if isinstance(part, str):
            if part:
                yield {"type": "text", "text": part}
        elif part.get("type") in BLOCKS:
            yield part
    for call in message.get("tool_calls") or ():
        yield {"type": "tool_call", "id": call.get("id"), "name": call.get("name"), "args": call.get("args") or {}}


def _tool(message: dict[str, Any], calls: dict[str, dict[str, Any]]) -> Iterator[Piece]:
    tool_call_id = str(message.get("tool_call_id") or "")
    call = calls.get(tool_call_id, {})
    name = str(message.get("name") or call.get("name") or "tool")
    yield tool_started(tool_call_id, name, call.get("args"))
    yield tool_ended(tool_call_id, message.get("content"), failed=message.get("status") == "error")
