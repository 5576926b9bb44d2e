"""Messages of an agent's state, as LangGraph's clients read them, in AG-UI's words."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from unbroken.domain.events import text_of

MESSAGES: Final = "messages"
MEDIA: Final = {"image": "image", "audio": "audio", "video": "video", "file": "document"}
SOURCES: Final = {"base64": "data", "url": "url", "file_id": "file"}


def without_messages(values: dict[str, Any]) -> dict[str, Any]:
    """The conversation has snapshots of its own."""
    return {key: value for key, value in values.items() if key not in (MESSAGES, "__interrupt__")}


def shown_messages(stored: Any) -> list[dict[str, Any]]:
    """What has no id, or a role that AG-UI does not know, is left out."""
    found = [_shown(message) for message in stored or () if isinstance(message, dict) and message.get("id")]
    return [message for message in found if message is not None]


def arguments(given: Any) -> str:
    """A tool call's, as JSON text."""
    return given if isinstance(given, str) else msgspec.json.encode(given or {}).decode()


def _shown(message: dict[str, Any]) -> dict[str, Any] | None:
    told: dict[str, Any] = {"id": str(message["id"])}
    content = message.get("content")
    match message.get("type"):
        case "human":
            return told | {"role": "user", "content": _parts(content)}
        case "ai":
            told |= {"role": "assistant", "content": text_of(content)}
            calls = [call for call in message.get("tool_calls") or () if isinstance(call, dict) and call.get("id")]
            return told | ({"toolCalls": [_call(call) for call in calls]} if calls else {})
        case "tool":
            told |= {"role": "tool", "content": text_of(content), "toolCallId": str(message.get("tool_call_id"))}
            return told | ({"error": text_of(content)} if message.get("status") == "error" else {})
        case "system":
            return told | {"role": "system", "content": text_of(content)}
    return None


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": str(call.get("name") or ""), "arguments": arguments(call.get("args"))}
    return {"id": str(call["id"]), "type": "function", "function": function}


def _parts(content: Any) -> str | list[dict[str, Any]]:
    blocks = content if isinstance(content, list) else []
    if not any(isinstance(block, dict) and block.get("type") in MEDIA for block in blocks):
        return text_of(content)
    return [part for block in blocks if isinstance(block, dict) and (part := _part(block)) is not None]


def _part(block: dict[str, Any]) -> dict[str, Any] | None:
    if block.get("type") == "text":
        return {"type": "text", "text": str(block.get("text", ""))}
    kind = MEDIA.get(str(block.get("type")))
    named = next((name for name in SOURCES if isinstance(block.get(name), str)), None)
    if kind is None or named is None:
        return None
    mime_type = block.get("mime_type")
    if named == "base64":
        mime_type = mime_type or "application/octet-stream"  # AG-UI asks for one with data
    source = {"type": SOURCES[named], "value": block[named], **({"mimeType": mime_type} if mime_type else {})}
    return {"type": kind, "source": source}
