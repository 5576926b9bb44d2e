"""Content-block events of messages and tools, as AG-UI streams them.

A message of LangChain's holds texts, thoughts and tool calls as blocks; AG-UI has a stream of its own for each: one
text, one span of reasoning for each block of it, one stream of arguments for each tool call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unbroken.domain.events import text_of
from unbroken.entrypoints.ag_ui.messages import arguments

AgUiEvent = dict[str, Any]
Namespace = tuple[str, ...]


class _Open:
    """A message that is being said."""

    def __init__(self, own_id: str, told_as: str, subagent: dict[str, str]) -> None:
        self.own_id = own_id
        self.id = told_as
        self.subagent = subagent
        self.speaks = False
        """Its text has begun."""
        self.thinks: dict[int, str] = {}
        self.calls: dict[int, str] = {}


class StreamedMessages:
    """Of one attempt. What the attempts before it have shown under an id has ended, and cannot begin again: the same id
    is told with the attempt behind it, and the snapshot at the end knows it by its own."""

    def __init__(
        self, attempt: int = 0, before: frozenset[str] = frozenset(), here: Sequence[dict[str, Any]] = ()
    ) -> None:
        """`here`: messages of a snapshot that was told just before; what the attempt says of these is told already."""
        self._attempt = attempt
        self._before = before
        self._here = frozenset(message["id"] for message in here)
        self._open: dict[str, _Open] = {}
        self._last: dict[Namespace, _Open] = {}
        self._began: set[str] = set()
        self._called = {call["id"] for message in here for call in message.get("toolCalls", ())}
        """Tool calls that were shown."""
        self._results: dict[str, AgUiEvent] = {}
        """Of tools, by their calls, that are still to be told."""
        self._subagents: dict[Namespace, None] = {}

    @property
    def shown(self) -> frozenset[str]:
        """Ids of messages, tool calls and subgraphs, of all attempts."""
        return self._before | self._called | self._began

    def _named(self, id_: str) -> str:
        return f"{id_}:{self._attempt}" if id_ in self._before else id_

    def event(self, namespace: Namespace, data: Any) -> list[AgUiEvent]:
        if not isinstance(data, dict):
            return []
        if data.get("event") == "message-start":
            if data.get("role", "ai") not in ("ai", "assistant"):
                return []
            own_id = str(data.get("id") or data.get("message_id") or "")
            if own_id in self._here:
                self._last.pop(namespace, None)
                return []
            told = self._subagent(namespace)
            self._began.add(own_id)
            message = _Open(own_id, self._named(own_id), self._of(namespace))
            self._open[own_id] = self._last[namespace] = message
            return told
        named = data.get("message_id")
        found = self._open.get(named) if isinstance(named, str) else self._last.get(namespace)
        if found is None:
            return []
        if data.get("event") in ("message-finish", "error"):
            self._open.pop(found.own_id, None)
            return _closed(found)
        return self._block(found, data)

    def tool(self, namespace: Namespace, data: Any) -> list[AgUiEvent]:
        """What a tool was given, where its call was not seen, and what it gave."""
        if not isinstance(data, dict):
            return []
        call_id = str(data.get("tool_call_id") or "")
        subagent, told_as = self._of(namespace), self._named(call_id)
        match data.get("event"):
            case "tool-started" if call_id not in self._called:
                return [
                    *self._subagent(namespace),
                    *self._begin_call(call_id, str(data.get("tool_name")), None, subagent),
                    _args(told_as, arguments(data.get("input")), subagent),
                    {"type": "TOOL_CALL_END", "toolCallId": told_as, **subagent},
                ]
            case "tool-finished":
                self._results[call_id] = _result(told_as, data.get("output"), subagent)
            case "tool-error":
                self._results[call_id] = _result(told_as, str(data.get("message", "")), subagent)
        return []

    def message(self, data: Any) -> list[AgUiEvent]:
        """A message that no model said. A tool's result waits for it: under another id than the state's it would be
        another message in the end."""
        message = data.get("message") if isinstance(data, dict) else None
        if not isinstance(message, dict) or message.get("type") != "tool" or not message.get("id"):
            return []
        result = self._results.pop(str(message.get("tool_call_id")), None)
        return (
            []
            if result is None or message["id"] in self._here
            else [result | {"messageId": self._named(str(message["id"]))}]
        )

    def close(self) -> list[AgUiEvent]:
        told = [*self._results.values(), *(event for message in self._open.values() for event in _closed(message))]
        told += [
            {"type": "SUBAGENT_FINISHED", **self._of(namespace), "outcome": {"type": "success"}}
            for namespace in reversed(self._subagents)
        ]
        self._results.clear()
        self._open.clear()
        self._last.clear()
        self._subagents.clear()
        return told

    def _subagent(self, namespace: Namespace) -> list[AgUiEvent]:
        told: list[AgUiEvent] = []
        for depth in range(1, len(namespace) + 1):
            place = namespace[:depth]
            if place not in self._subagents:
                self._subagents[place] = None
                self._began.add("|".join(place))
                parent = {"parentSubagentRunId": self._of(place[:-1])["subagentRunId"]} if depth > 1 else {}
                name = place[-1].partition(":")[0]
                told.append({"type": "SUBAGENT_STARTED", **self._of(place), "name": name, **parent})
        return told

    def _of(self, namespace: Namespace) -> dict[str, str]:
        """The subgraph's field in each event of it."""
        return {"subagentRunId": self._named("|".join(namespace))} if namespace else {}

    def _block(self, message: _Open, data: dict[str, Any]) -> list[AgUiEvent]:
        index = int(data.get("index") or 0)
        content = data.get("content") or {}
        delta = data.get("delta") or {}
        match data.get("event"), content.get("type"), delta.get("type"):
            case "content-block-start", "text", _:
                return _says(message, content.get("text"))
            case "content-block-start", "reasoning", _:
                return _thinks(message, index, content.get("reasoning"))
            case "content-block-start", "tool_call_chunk" | "tool_call", _:
                return self._calls(message, index, content, whole=content["type"] == "tool_call")
            case "content-block-delta", _, "text-delta":
                return _says(message, delta.get("text"))
            case "content-block-delta", _, "reasoning-delta":
                return _thinks(message, index, delta.get("reasoning"))
            case "content-block-delta", _, "tool-call-delta" if index in message.calls and delta.get("args"):
                return [_args(message.calls[index], str(delta["args"]), message.subagent)]
            case "content-block-finish", kind, _:
                return self._block_ends(message, index, kind, content)
        return []

    def _block_ends(self, message: _Open, index: int, kind: Any, content: dict[str, Any]) -> list[AgUiEvent]:
        if index in message.thinks:
            return _thought(message, index)
        if index in message.calls:
            return [{"type": "TOOL_CALL_END", "toolCallId": message.calls.pop(index), **message.subagent}]
        if kind == "tool_call" and str(content.get("id")) not in self._called:
            return self._calls(message, index, content, whole=True)
        return []

    def _calls(self, message: _Open, index: int, content: dict[str, Any], *, whole: bool) -> list[AgUiEvent]:
        call_id, name = content.get("id"), content.get("name")
        if not call_id or not name or call_id in self._called:
            return []
        told_as = self._named(str(call_id))
        told = self._begin_call(str(call_id), str(name), message.id, message.subagent)
        if given := content.get("args"):
            told.append(_args(told_as, arguments(given), message.subagent))
        if whole:
            return [*told, {"type": "TOOL_CALL_END", "toolCallId": told_as, **message.subagent}]
        message.calls[index] = told_as
        return told

    def _begin_call(self, call_id: str, name: str, message_id: str | None, subagent: dict[str, str]) -> list[AgUiEvent]:
        self._called.add(call_id)
        told_as = self._named(call_id)
        parent = {"parentMessageId": message_id} if message_id else {}
        return [{"type": "TOOL_CALL_START", "toolCallId": told_as, "toolCallName": name, **parent, **subagent}]


def _args(call_id: str, delta: str, subagent: dict[str, str]) -> AgUiEvent:
    return {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": delta, **subagent}


def _result(call_id: str, output: Any, subagent: dict[str, str]) -> AgUiEvent:
    message_id = output.get("id") if isinstance(output, dict) else None
    content = text_of(output.get("content")) if isinstance(output, dict) and "content" in output else output
    shown = content if isinstance(content, str) else arguments(content)
    told = {"type": "TOOL_CALL_RESULT", "toolCallId": call_id, "content": shown, "role": "tool", **subagent}
    return told | {"messageId": str(message_id or f"{call_id}:result")}


def _says(message: _Open, text: Any) -> list[AgUiEvent]:
    if not text:
        return []
    told: list[AgUiEvent] = []
    if not message.speaks:
        message.speaks = True
        told.append({"type": "TEXT_MESSAGE_START", "messageId": message.id, "role": "assistant", **message.subagent})
    return [*told, {"type": "TEXT_MESSAGE_CONTENT", "messageId": message.id, "delta": str(text), **message.subagent}]


def _thinks(message: _Open, index: int, text: Any) -> list[AgUiEvent]:
    if not text:
        return []
    told: list[AgUiEvent] = []
    if index not in message.thinks:
        named = message.thinks[index] = f"{message.id}:reasoning:{index}"
        told.append({"type": "REASONING_START", "messageId": named, **message.subagent})
        told.append({"type": "REASONING_MESSAGE_START", "messageId": named, "role": "reasoning", **message.subagent})
    named = message.thinks[index]
    content = {"type": "REASONING_MESSAGE_CONTENT", "messageId": named, "delta": str(text), **message.subagent}
    return [*told, content]


def _thought(message: _Open, index: int) -> list[AgUiEvent]:
    named = message.thinks.pop(index)
    return [
        {"type": "REASONING_MESSAGE_END", "messageId": named, **message.subagent},
        {"type": "REASONING_END", "messageId": named, **message.subagent},
    ]


def _closed(message: _Open) -> list[AgUiEvent]:
    told = [event for index in list(message.thinks) for event in _thought(message, index)]
    told += [{"type": "TOOL_CALL_END", "toolCallId": call_id, **message.subagent} for call_id in message.calls.values()]
    message.calls.clear()
    if message.speaks:
        message.speaks = False
        told.append({"type": "TEXT_MESSAGE_END", "messageId": message.id, **message.subagent})
    return told
