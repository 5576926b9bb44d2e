"""How a chat is put to a graph, whatever its state is, and what of its state is the answer.

input has `messages`     the message is appended; the answer is what AI messages say that were added; where none
                         was, and the output has no `messages`, it is the output, as JSON
any other state          the text is the graph's input, a JSON object; the answer is its output, as JSON
`@entrypoint`            by its parameter's type: text for `str`, messages for a list of any, else JSON;
                         the answer is the text it returns, or that of messages, else JSON

Values are not said to anybody: where they are longer than an answer may be, its text is their beginning, and the state
has them all. Messages that are too long fail the turn, whoever wrote them (domain/live_stream).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.pregel import Pregel

from unbroken.adapters.langgraph.inputs import input_of, message_of, resets
from unbroken.adapters.langgraph.json_values import json_of
from unbroken.adapters.langgraph.messages import spoken
from unbroken.adapters.langgraph.misfits import misfit_model
from unbroken.adapters.langgraph.rows import to_json
from unbroken.domain.errors import AgentRaised
from unbroken.domain.events import Event, RunStart, TimerFired, text_of
from unbroken.domain.live_stream import MAX_UNITS
from unbroken.domain.stream_parts import join_messages
from unbroken.domain.utf16 import beginning, well_formed

MESSAGES = "messages"
MOST_KEYS = 12
"""That an error names."""
GOES_ON = (
    "\n\n(This is the beginning of the agent's output, which is too long for a chat: "
    "the thread's state holds all of it.)"
)


def takes_messages(graph: Pregel[Any, Any, Any, Any]) -> bool:
    return MESSAGES in _keys(graph)


def said_to(graph: Pregel[Any, Any, Any, Any], event: Event, effect_channels: Sequence[str]) -> Any:
    """A message, or a timer that fired, as the graph's input; a run's input is one already. Raises AgentRaised: the
    text is not what it takes."""
    if isinstance(event.body, RunStart) or takes_messages(graph):
        return input_of(event, effect_channels)
    message = message_of(event)
    given = event.body.payload if isinstance(event.body, TimerFired) else text_of(message.content)
    if getattr(graph, "builder", None) is None:
        return _argument(graph, given, message)
    parsed = _parsed(given)
    if not isinstance(parsed, dict):
        raise AgentRaised(_takes(_keys(graph)))
    return {**parsed, **resets(effect_channels)}


def expected_by(graph: Pregel[Any, Any, Any, Any], event: Event, error: BaseException) -> str | None:
    """What the graph takes, if the error says that what it was told in a chat does not fit its state. None: it says
    something else."""
    if isinstance(event.body, RunStart) or takes_messages(graph) or (model := misfit_model(error)) is None:
        return None
    schemas = getattr(getattr(graph, "builder", None), "schemas", {})
    return _takes(_keys(graph)) if any(getattr(schema, "__name__", None) == model for schema in schemas) else None


def answer_of(graph: Pregel[Any, Any, Any, Any], values: Any, new: Sequence[BaseMessage]) -> str:
    """What a turn's end says. `values`: those of its last checkpoint; None: the run stands still, or there was none.
    `new`: the messages that the turn added."""
    if takes_messages(graph) and (MESSAGES in _output(graph) or any(isinstance(one, AIMessage) for one in new)):
        return join_messages([spoken(message) for message in new])
    return "" if values is None else output_of(graph, values)


def output_of(graph: Pregel[Any, Any, Any, Any], values: Any) -> str:
    """What a finished run came to, as text: of values that are no messages, as much as an answer may hold. `values`:
    those of its last checkpoint."""
    channels = graph.output_channels
    if not isinstance(channels, str) and isinstance(values, Mapping):
        values = {name: values[name] for name in channels if name in values}
    if isinstance(values, str):
        return _fitting(well_formed(values[: MAX_UNITS + 1]))
    messages = values if isinstance(values, Sequence) else [values]
    if messages and all(isinstance(message, BaseMessage) for message in messages):
        return join_messages([spoken(message) for message in messages])
    if values is None:
        return ""
    # A unit takes at most three bytes, and a character that is cut in two is no part of the text.
    return _fitting(json_of(values)[: 3 * MAX_UNITS + 4].decode(errors="ignore"))


def _fitting(text: str) -> str:
    if len(beginning(text, MAX_UNITS)) == len(text):
        return text
    return beginning(text, MAX_UNITS - len(GOES_ON)) + GOES_ON


def _argument(graph: Pregel[Any, Any, Any, Any], given: Any, message: HumanMessage) -> Any:
    try:
        schema = graph.get_input_jsonschema()
    except Exception:  # noqa: BLE001 (a type that has no schema takes what it is given)
        schema = {}
    parsed = _parsed(given)
    if schema.get("type") == "string":
        return given if isinstance(given, str) else to_json(given).decode()
    if schema.get("type") == "array":
        return parsed if isinstance(parsed, list) else [message]
    if "messages" in schema.get("properties", {}) and not isinstance(parsed, dict):
        return {"messages": [message]}
    if schema.get("type") == "object" and not isinstance(parsed, dict):
        raise AgentRaised(_takes(schema.get("properties", {})))
    return parsed


def _takes(keys: Iterable[str]) -> str:
    named = ", ".join([*keys][:MOST_KEYS])
    return "this agent takes a JSON object as its message" + (f", with these keys: {named}" if named else "")


def _parsed(given: Any) -> Any:
    """JSON if it is, else as it stands."""
    if not isinstance(given, str):
        return given
    try:
        return msgspec.json.decode(given)
    except msgspec.DecodeError:
        return given


def _keys(graph: Pregel[Any, Any, Any, Any]) -> Mapping[str, Any]:
    """Of a state graph's input; a function has none."""
    builder = getattr(graph, "builder", None)
    return {} if builder is None else builder.schemas.get(builder.input_schema, graph.channels)


def _output(graph: Pregel[Any, Any, Any, Any]) -> Sequence[str]:
    """The channels that a run's result is made of."""
    channels = graph.output_channels
    return [channels] if isinstance(channels, str) else channels
