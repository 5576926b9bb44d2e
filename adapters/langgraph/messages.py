"""LangChain's messages as plain text and plain dicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage, convert_to_messages

from unbroken.adapters.langgraph.json_values import as_json
from unbroken.adapters.langgraph.rows import healed
from unbroken.domain.events import ContentBlock, text_of
from unbroken.domain.utf16 import well_formed

GONE_ON = "This call was not carried out: the user went on without it."

NO_THOUGHTS = frozenset({"text", "tool_use", "input_json_delta"})

ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


def messages_in(values: Any) -> Sequence[BaseMessage]:
    """A state's messages, whatever form a node left them in; none where the state is no mapping."""
    messages = (values.get("messages") if isinstance(values, Mapping) else None) or []
    if all(issubclass(kind, BaseMessage) for kind in set(map(type, messages))):
        return messages
    return convert_to_messages(messages)


def is_all_said(content: str | Sequence[Any]) -> bool:
    """Whether nothing in it can be a thought. Asked of each token: taking its blocks apart costs five times a token."""
    return all(type(block) is str or (type(block) is dict and block.get("type") in NO_THOUGHTS) for block in content)


def reasoning_of(message: BaseMessage) -> str:
    """What a model thought before it spoke, in whatever form its provider sends it; nobody is told it as the answer."""
    try:
        blocks = message.content_blocks
    except Exception:  # noqa: BLE001 (a provider's own blocks; what cannot be read is not shown)
        return ""
    return "".join(str(block.get("reasoning") or "") for block in blocks if block["type"] == "reasoning")


def spoken(message: BaseMessage) -> str:
    """A message's part of the answer; empty for all but an AI's."""
    return well_formed(text_of(message.content)) if isinstance(message, AIMessage) else ""


def mend(message: BaseMessage) -> None:
    """Make a message's text well-formed where it stands, before anything is committed: what the state holds is
    what was streamed. The serializer would store a question mark for each half of a surrogate pair."""
    content = healed(message.content)
    if content != message.content:
        message.content = content
    if isinstance(message, AIMessage) and message.tool_calls:
        message.tool_calls = healed(message.tool_calls)


def as_dict(message: AnyMessage | BaseMessage) -> ContentBlock:
    plain: dict[str, Any] = {
        "id": message.id,
        "role": ROLES.get(message.type, message.type),
        "content": message.content,
    }
    if message.name:
        plain["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        plain["tool_calls"] = [
            {"id": call["id"], "name": call["name"], "args": call["args"]} for call in message.tool_calls
        ]
    if isinstance(message, ToolMessage):
        plain["tool_call_id"] = message.tool_call_id
        plain["status"] = message.status
    return dict(as_json(plain))


def token_usage(messages: Iterable[BaseMessage]) -> dict[str, int] | None:
    """Input, output and total tokens, summed. None: no model told."""
    total: dict[str, int] = {}
    for message in messages:
        usage = message.usage_metadata if isinstance(message, AIMessage) else None
        if usage:
            total["input_tokens"] = total.get("input_tokens", 0) + usage["input_tokens"]
            total["output_tokens"] = total.get("output_tokens", 0) + usage["output_tokens"]
            total["total_tokens"] = total.get("total_tokens", 0) + usage["total_tokens"]
    return total or None


def unanswered_tool_calls(messages: Sequence[BaseMessage], reason: str = GONE_ON) -> list[ToolMessage]:
    """Error results for the last AI message's tool calls that have none: model providers refuse a history where
    anything else follows them."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AIMessage):
            return [
                ToolMessage(
                    reason,
                    tool_call_id=str(call["id"]),
                    name=call["name"],
                    status="error",
                )
                for call in message.tool_calls
                if call["id"] not in answered
            ]
        else:
            return []
    return []
