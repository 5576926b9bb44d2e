"""What model providers demand of the order of a conversation; a history that breaks it is refused in every later turn.

Each function takes a thread's messages as LangChain has them and returns its violations as sentences; none: accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from unbroken.domain.events import text_of


def violations(messages: Sequence[BaseMessage]) -> list[str]:
    """Of either provider's rules."""
    return [*(f"OpenAI: {rule}" for rule in openai(messages)), *(f"Anthropic: {rule}" for rule in anthropic(messages))]


def openai(messages: Sequence[BaseMessage]) -> list[str]:
    return [*_begins(messages), *_spoken(messages), *_calls(messages)]


def anthropic(messages: Sequence[BaseMessage]) -> list[str]:
    found = [*_begins(messages), *_spoken(messages), *_calls(messages)]
    for index, message in enumerate(messages[1:], start=1):
        if isinstance(message, SystemMessage) and not isinstance(messages[index - 1], SystemMessage):
            found.append(f"message {index} is a system message in the middle of the conversation")
    turns = _turns(messages)
    for turn in turns:
        found += _results_first(turn)
    found += _final(turns)
    return found


def _begins(messages: Sequence[BaseMessage]) -> list[str]:
    spoken = [message for message in messages if not isinstance(message, SystemMessage)]
    if not spoken:
        return ["there is no message of a user or an assistant"]
    return [] if isinstance(spoken[0], HumanMessage) else [f"the first message is of type {spoken[0].type}"]


def _spoken(messages: Sequence[BaseMessage]) -> list[str]:
    found = []
    for index, message in enumerate(messages):
        blank = not text_of(message.content).strip()
        if isinstance(message, AIMessage) and blank and not message.tool_calls:
            found.append(f"message {index} is an assistant's and says nothing")
        if isinstance(message, HumanMessage) and not message.content:
            found.append(f"message {index} is a user's and holds nothing")
    return found


def _calls(messages: Sequence[BaseMessage]) -> list[str]:
    """Each call has exactly one result, and all results of a message's calls stand directly behind it."""
    found: list[str] = []
    open_ids: list[str] = []
    asked: set[str] = set()
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id in open_ids:
                open_ids.remove(message.tool_call_id)
            elif message.tool_call_id in asked:
                found.append(f"message {index} answers call {message.tool_call_id!r} a second time, or too late")
            else:
                found.append(f"message {index} answers call {message.tool_call_id!r}, which nobody made")
            continue
        found += [f"call {call_id!r} has no result before message {index}" for call_id in open_ids]
        open_ids = []
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                if not call["id"] or call["id"] in asked:
                    found.append(f"message {index} makes call {call['id']!r} under an id that is not its own")
                asked.add(str(call["id"]))
                open_ids.append(str(call["id"]))
    return [*found, *(f"call {call_id!r} has no result at the end" for call_id in open_ids)]


def _turns(messages: Sequence[BaseMessage]) -> list[list[BaseMessage]]:
    """Consecutive messages of one role are one turn there, and a tool's result is the user's."""
    rest = [message for message in messages if not isinstance(message, SystemMessage)]
    return [list(turn) for _, turn in groupby(rest, key=lambda message: isinstance(message, AIMessage))]


def _results_first(turn: list[BaseMessage]) -> list[str]:
    kinds = [isinstance(message, ToolMessage) for message in turn]
    return ["a tool's result stands behind the user's own words"] if kinds != sorted(kinds, reverse=True) else []


def _final(turns: list[list[BaseMessage]]) -> list[str]:
    """The last assistant turn is taken for the beginning of the answer, if nothing follows it."""
    last: Any = turns[-1][-1] if turns else None
    if isinstance(last, AIMessage) and (text := text_of(last.content)) != text.rstrip():
        return ["the conversation ends with an assistant's trailing whitespace"]
    return []
