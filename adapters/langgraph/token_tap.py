"""From model and tool callbacks to the attempt's live stream (protocol, rule 2).

The handler is synchronous and inline: LangChain calls it without a task or a queue, which is what makes a token
cheap. Nodes that are plain functions run on other threads; what they say hops to the event loop, in order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, GenerationChunk, LLMResult
from langgraph.constants import TAG_NOSTREAM

from unbroken.adapters.langgraph.habits import Habits
from unbroken.adapters.langgraph.json_values import json_of
from unbroken.adapters.langgraph.messages import is_all_said, reasoning_of, spoken
from unbroken.adapters.langgraph.rows import to_json
from unbroken.adapters.langgraph.steps import Namespace, Steps
from unbroken.domain.events import text_of
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.stream_parts import ToolPhase
from unbroken.domain.utf16 import well_formed

T = TypeVar("T")
SHOWN_OF_TOOLS = 500
"""Characters of a tool's arguments or result that a tool frame carries."""


class ModelCall:
    __slots__ = ("held", "message_id", "node", "number", "shown_as")

    def __init__(self, node: str, number: int, held: bool) -> None:
        self.node = node
        self.number = number
        self.held = held
        self.shown_as: str | None = None
        """The id that its chunks were streamed under."""
        self.message_id: str | None = None
        """The id of the finished message."""


class TokenTap(BaseCallbackHandler):
    """Streams what the root graph's answer messages say, and shows the tool calls of every graph.

    Not part of the text: subgraphs, models tagged `nostream`, structured output, models inside tools, and calls that
    are known to be silent. `settle` then shows what the state holds and the stream does not. Beside the text go what
    subgraphs say (`aside`), and what models think before they speak (`reasoning`).
    """

    run_inline = True

    def __init__(self, attempt: Attempt, habits: Habits, steps: Steps) -> None:
        self._attempt = attempt
        self._habits = habits
        self._steps = steps
        self._on_loop = steps.on_loop
        self._watched: dict[UUID, Namespace] = {}
        """Model runs that may speak, and where. Known at once, also on another thread; `_calls` only when the loop
        gets to it."""
        self._calls: dict[UUID, ModelCall] = {}
        self._of_task: dict[str, list[ModelCall]] = {}
        self._tools: dict[UUID, ToolCall] = {}
        self._settled: set[str] = set()
        self.heard: set[str] = set()
        """Ids of the messages that the root graph's models finished in this attempt. Some servers give every
        message the same id, which then replaces an older one in the state."""

    # What LangChain asks of a handler before `ainvoke` streams.
    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[T]) -> AsyncIterator[T]:
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[T]) -> Iterator[T]:
        return output

    @property
    def ignore_chain(self) -> bool:
        return True

    @property
    def ignore_retriever(self) -> bool:
        return True

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        place = place_of(metadata)
        structured = "ls_structured_output_format" in (kwargs.get("options") or {})
        if place is None or structured or TAG_NOSTREAM in (tags or ()):
            return
        self._watched[run_id] = place.namespace
        if not place.namespace:
            self._on_loop(self._model_starts, run_id, place)

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], **kwargs: Any) -> None:
        """A model that is not a chat model adds no message by itself."""

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        namespace = self._watched.get(run_id)
        if namespace is None or not isinstance(chunk, ChatGenerationChunk):
            return
        message = chunk.message
        content = message.content
        plain = type(content) is str
        text = content if plain else text_of(content)
        if text:
            self._on_loop(self._aside_says if namespace else self._model_says, run_id, message.id, text)
        if not message.additional_kwargs and (plain or is_all_said(content)):
            return
        if thought := reasoning_of(message):
            self._on_loop(self._model_thinks, run_id, message.id, thought)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        generation = response.generations[0][0] if response.generations and response.generations[0] else None
        message_id = generation.message.id if isinstance(generation, ChatGeneration) else None
        self._on_loop(self._model_ends, run_id, message_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._on_loop(self._model_ends, run_id, None)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        place = place_of(metadata)
        if place is not None:
            tool_call_id = str(kwargs.get("tool_call_id") or run_id)
            name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
            shown = json_of(inputs).decode() if inputs is not None else input_str
            self._on_loop(self._tool_starts, run_id, ToolCall(place, tool_call_id, name), shown)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        failed = isinstance(output, ToolMessage) and output.status == "error"
        shown = text_of(output.content) if isinstance(output, BaseMessage) else str(output)
        self._on_loop(self._tool_ends, run_id, failed, shown)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._on_loop(self._tool_ends, run_id, True, type(error).__name__)

    def begin_with(self, messages: Sequence[tuple[str, BaseMessage]]) -> None:
        """(key, message) committed inside this event before this attempt."""
        self._settled.update(key for key, _ in messages)
        texts = [(well_formed(key), spoken(message)) for key, message in messages]
        self._attempt.begin_with([(key, text) for key, text in texts if text])

    def settle(self, new: Sequence[tuple[str, BaseMessage]], added_by_task: Mapping[str, Collection[str]]) -> None:
        """A superstep is complete: `new` are the messages the state holds of this turn, as (key, message) in
        order; `added_by_task` holds the ids of the AI messages that each of its tasks added.

        Messages that were not streamed (no model, a silent call, a subgraph) are shown whole; but not what a node
        wrote anew from something streamed: there the final answer replaces the text.
        """
        rewritten: set[str] = set()
        for task_id, calls in self._of_task.items():
            added = added_by_task.get(task_id)
            if added is None:
                continue
            self._habits.learn(calls[0].node, [(call.number, call.message_id) for call in calls], added)
            if any(call.shown_as for call in calls) and not any(call.message_id in added for call in calls):
                rewritten.update(added)
        streamed = {call.message_id for calls in self._of_task.values() for call in calls if call.shown_as}
        for key, message in new:
            if key not in self._settled:
                self._settled.add(key)
                if key not in streamed and key not in rewritten and (text := spoken(message)):
                    shown_as = well_formed(key)
                    self._attempt.text(shown_as, text)
                    self._attempt.text_ends(shown_as)
        self._of_task.clear()

    def _model_starts(self, run_id: UUID, place: Place) -> None:
        task_id, node = place.task_id, place.node
        if any(tool.place.task_id == task_id for tool in self._tools.values()):
            return
        calls = self._of_task.setdefault(task_id, [])
        call = ModelCall(node, len(calls), self._habits.silent((node, len(calls))))
        calls.append(call)
        self._calls[run_id] = call

    def _model_says(self, run_id: UUID, message_id: str | None, text: str) -> None:
        call = self._calls.get(run_id)
        if call is not None and not call.held:
            if call.shown_as is None:
                call.shown_as = well_formed(message_id or f"run-{run_id}")
            self._attempt.text(call.shown_as, text)

    def _aside_says(self, run_id: UUID, message_id: str | None, text: str) -> None:
        self._beside("aside", run_id, message_id or f"run-{run_id}", text)

    def _model_thinks(self, run_id: UUID, message_id: str | None, thought: str) -> None:
        call = self._calls.get(run_id)
        if call is None and not self._watched.get(run_id):
            return  # of a tool of the root graph's
        if call is None or not call.held:
            shown_as = call.shown_as if call is not None else None
            self._beside("reasoning", run_id, shown_as or message_id or f"run-{run_id}", thought)

    def _beside(self, method: str, run_id: UUID, message_id: str, text: str) -> None:
        namespace = self._watched.get(run_id)
        if namespace is not None:
            said = {"messageId": well_formed(message_id), "text": well_formed(text)}
            self._attempt.step(method, namespace, to_json(said))

    def _model_ends(self, run_id: UUID, message_id: str | None) -> None:
        self._watched.pop(run_id, None)
        call = self._calls.pop(run_id, None)
        if call is not None:
            call.message_id = message_id
            self.heard.add(message_id or "")
            if call.shown_as is not None:
                self._attempt.text_ends(call.shown_as)

    def _tool_starts(self, run_id: UUID, tool: ToolCall, shown: str) -> None:
        self._tools[run_id] = tool
        self._show_tool(tool, "started", shown)

    def _tool_ends(self, run_id: UUID, failed: bool, shown: str) -> None:
        tool = self._tools.pop(run_id, None)
        if tool is not None:
            self._show_tool(tool, "failed" if failed else "finished", shown)

    def _show_tool(self, tool: ToolCall, phase: ToolPhase, shown: str) -> None:
        told = well_formed(shown[:SHOWN_OF_TOOLS])
        self._attempt.tool(tool.tool_call_id, tool.name, phase, told, tool.place.namespace)


class Place(NamedTuple):
    """Where in the graphs of a run something happens."""

    namespace: Namespace
    task_id: str
    node: str


class ToolCall(NamedTuple):
    place: Place
    tool_call_id: str
    name: str


def place_of(metadata: Mapping[str, Any] | None) -> Place | None:
    """None: it runs in no graph.

    A namespace names the tasks on the way down, `node:task|node:task`. Functions decorated with `@task` run in
    their caller's graph, although each adds a step.
    """
    place = (metadata or {}).get("langgraph_checkpoint_ns")
    if not place:
        return None
    steps = str(place).split("|")
    path: Any = (metadata or {}).get("langgraph_path", ())
    calls = 0
    while len(path) == 4 and path[0] == "__pregel_push" and path[-1] is True:
        calls, path = calls + 1, path[1]
    depth = len(steps) - calls - 1
    if depth < 0:
        return None
    node, _, task_id = steps[depth].partition(":")
    return Place(tuple(steps[:depth]), task_id, node)
