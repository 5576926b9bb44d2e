"""Content-block events of streamed messages, as the message chunks that LangGraph's REST clients put together.

What a model streams is recorded as the events that `langchain-protocol` types. REST clients know the older form: each
chunk is a message that is added to the one before (`messages-tuple`), or the whole message so far (`messages`).
"""

from __future__ import annotations

from typing import Any

from langchain_core.utils.json import parse_partial_json
from msgspec import Struct

from unbroken.domain.events import text_of
from unbroken.domain.utf16 import cut, units

Blocks = dict[int, dict[str, Any]]
Namespace = tuple[str, ...]
_PLAIN = ("text", "reasoning", "tool_call", "tool_call_chunk", "invalid_tool_call")


class Said(Struct):
    """What one event made of its message."""

    message: Message
    begins: bool
    chunk: dict[str, Any] | None
    """To be added to what was told of the message; None: nothing that is shown."""
    complete: bool = False
    """It did not come in pieces."""


class Message:
    """One message as far as it was streamed."""

    def __init__(self, id_: str, metadata: dict[str, Any]) -> None:
        self.id = id_
        self.metadata = metadata
        self.blocks: Blocks = {}
        self._units: dict[int, int] = {}
        self.usage: dict[str, Any] | None = None
        self.response_metadata: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return "".join(block["text"] for block in self.blocks.values() if block["type"] == "text")

    @property
    def units(self) -> int:
        """UTF-16 units of its text; counted as it comes, for it is asked for with each piece."""
        return sum(self._units.values())

    def take(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """What is to be added to the message, as a chunk; None: nothing."""
        match event:
            case {"event": "content-block-start", "index": int(index), "content": {"type": str()} as block}:
                return self._start(index, dict(block))
            case {"event": "content-block-delta", "index": int(index), "delta": {"type": str()} as delta}:
                return self._add(index, delta)
            case {"event": "content-block-finish", "index": int(index), "content": {"type": str()} as block}:
                return self._finish(index, dict(block))
            case {"event": "message-finish"}:
                self.usage = event.get("usage")
                self.response_metadata = event.get("metadata") or {}
                return self.chunk(
                    usage_metadata=self.usage, response_metadata=self.response_metadata, chunk_position="last"
                )
        return None

    def chunk(self, content: str | list[Any] = "", **more: Any) -> dict[str, Any]:
        return {
            "content": content,
            "additional_kwargs": {},
            "response_metadata": {},
            "type": "AIMessageChunk",
            "name": None,
            "id": self.id,
            "tool_calls": [],
            "invalid_tool_calls": [],
            "usage_metadata": None,
            "tool_call_chunks": [],
            "chunk_position": None,
            **more,
        }

    def whole(self) -> dict[str, Any]:
        blocks = [block for block in self.blocks.values() if block["type"] not in _PLAIN[2:]]
        only_text = all(block["type"] == "text" for block in blocks)
        return {
            "content": self.text if only_text else blocks,
            "additional_kwargs": {},
            "response_metadata": self.response_metadata,
            "type": "ai",
            "name": None,
            "id": self.id,
            "tool_calls": [call for block in self.blocks.values() if (call := _call(block)) is not None],
            "invalid_tool_calls": [block for block in self.blocks.values() if block["type"] == "invalid_tool_call"],
            "usage_metadata": self.usage,
        }

    def _start(self, index: int, block: dict[str, Any]) -> dict[str, Any] | None:
        for field, kind in (("text", "text"), ("reasoning", "reasoning"), ("args", "tool_call_chunk")):
            if block["type"] == kind:
                block.setdefault(field, "")
                block[field] = block[field] or ""
        self.blocks[index] = block
        self._units[index] = units(block["text"]) if block["type"] == "text" else 0
        if block["type"] == "tool_call_chunk":
            return self._calls(index, name=block.get("name"), id=block.get("id"), args=block["args"])
        return None

    def _add(self, index: int, delta: dict[str, Any]) -> dict[str, Any] | None:
        block = self.blocks.get(index, {"type": None})
        match block["type"], delta:
            case "text", {"type": "text-delta", "text": str(text)}:
                block["text"] += text
                self._units[index] += units(text)
                return self.chunk(text)
            case "reasoning", {"type": "reasoning-delta", "reasoning": str(text)}:
                block["reasoning"] += text
                return self.chunk([{"type": "reasoning", "reasoning": text, "index": index}])
            case "tool_call_chunk", {"type": "tool-call-delta", "args": str(args)}:
                block["args"] += args
                return self._calls(index, args=args)
        return None

    def _finish(self, index: int, block: dict[str, Any]) -> dict[str, Any] | None:
        known = self.blocks.get(index)
        self.blocks[index] = block
        self._units[index] = units(block["text"]) if block["type"] == "text" else 0
        if block["type"] not in _PLAIN:
            return self.chunk([block])
        if block["type"] == "tool_call" and (known is None or known["type"] != "tool_call_chunk"):
            return self.chunk(tool_calls=[_call(block)])  # it came whole
        return None

    def _calls(self, index: int, **fields: Any) -> dict[str, Any]:
        call = {"name": None, "args": "", "id": None, "index": index, "type": "tool_call_chunk", **fields}
        return self.chunk(tool_call_chunks=[call])


class Messages:
    """The messages that an attempt has streamed, by their ids; in each namespace and at each node one at a time says
    which event is whose, where events do not."""

    def __init__(self, about: dict[str, Any]) -> None:
        """`about`: metadata of each of them."""
        self._shared = about
        self._known: dict[str, Message] = {}
        self._open: dict[Namespace, Message] = {}

    def knows(self, message_id: str) -> bool:
        return message_id in self._known

    def event(self, namespace: Namespace, event: dict[str, Any]) -> Said | None:
        """None: it belongs to no message that has begun."""
        if event.get("event") == "message-start":
            message = self._begin(str(event.get("id", "")), event.get("metadata") or {})
            self._open[namespace] = message
            provider = message.metadata.get("ls_provider")
            known = {"model_provider": provider} if provider else {}
            return Said(message, begins=True, chunk=message.chunk(response_metadata=known))
        message_id = event.get("message_id")
        found = self._known.get(message_id) if isinstance(message_id, str) else self._open.get(namespace)
        return None if found is None else Said(found, begins=False, chunk=found.take(event))

    def text(self, message_id: str, text: str) -> Said:
        """More of the text of a message of which nothing else is recorded."""
        begins = message_id not in self._known
        message = self._known.get(message_id) or self._begin(message_id, {})
        if not message.blocks:
            message.take({**_BEGUN, "content": {"type": "text", "text": ""}})
        return Said(message, begins, message.take({**_TEXT, "delta": {"type": "text-delta", "text": text}}))

    def told(self) -> dict[str, int]:
        """By message, how many UTF-16 units of its text were told."""
        return {id_: message.units for id_, message in self._known.items()}

    def had(self, stored: dict[str, Any], told: int) -> None:
        """Of a message of the committed state that has not begun here, so many UTF-16 units were told elsewhere."""
        message_id = stored.get("id")
        if isinstance(message_id, str) and message_id and message_id not in self._known:
            text = text_of(stored.get("content"))
            self.text(message_id, text[: len(text) - len(cut(text, told))])

    def complete(self, stored: dict[str, Any]) -> Said | None:
        """A message of the committed state: what of it was not streamed. None: nothing is lacking."""
        message_id = stored.get("id")
        if not isinstance(message_id, str) or not message_id:
            return None
        text = text_of(stored.get("content"))
        message = self._known.get(message_id)
        if message is None:
            return self._never_streamed(message_id, stored, text)
        shown = message.text
        if len(text) <= len(shown) or not text.startswith(shown):
            return None
        return self.text(message_id, text[len(shown) :])

    def _never_streamed(self, message_id: str, stored: dict[str, Any], text: str) -> Said | None:
        if stored.get("role") != "assistant":
            return None
        message = self._begin(message_id, {})
        message.take({**_BEGUN, "content": {"type": "text", "text": text}})
        calls = [call for call in stored.get("tool_calls") or [] if isinstance(call, dict)]
        for index, call in enumerate(calls, 1):
            message.blocks[index] = {**call, "type": "tool_call"}
        chunk = message.chunk(text, tool_calls=message.whole()["tool_calls"])
        return Said(message, begins=True, chunk=chunk, complete=True)

    def _begin(self, message_id: str, metadata: dict[str, Any]) -> Message:
        message = self._known[message_id] = Message(message_id, self.about(metadata))
        return message

    def about(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """All that is told beside a message."""
        return {**self._shared, **{_LS_NAMES.get(key, key): value for key, value in metadata.items()}}


_LS_NAMES = {"provider": "ls_provider", "model": "ls_model_name"}
_BEGUN = {"event": "content-block-start", "index": 0}
_TEXT = {"event": "content-block-delta", "index": 0}


def _call(block: dict[str, Any]) -> dict[str, Any] | None:
    """A tool call as far as it is known; None: the block is none."""
    if block["type"] not in ("tool_call", "tool_call_chunk"):
        return None
    args = block.get("args")
    if isinstance(args, str):
        args = _parsed(args)
    shown = args if isinstance(args, dict) else {}
    return {"name": block.get("name") or "", "args": shown, "id": block.get("id"), "type": "tool_call"}


def _parsed(args: str) -> Any:
    try:
        return parse_partial_json(args) if args else {}
    except ValueError:
        return {}
