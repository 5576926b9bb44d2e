"""The messages of a rich run as content-block events, of every graph in it, token by token."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, GenerationChunk, LLMResult
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.pregel.protocol import StreamChunk

from unbroken.adapters.langgraph.block_events import BlockEvent, BlockEvents, whole
from unbroken.adapters.langgraph.steps import Namespace, Steps

Meta = tuple[Namespace, dict[str, Any]]
"""The namespace of the graph that a message comes from, and what LangChain knows of its call."""


class MessageSteps(StreamMessagesHandler):
    """Which messages there are is LangGraph's to say: it tells a node's new messages from those that were streamed or
    came in. Only their form is another.

    Each event names its message and its model call beside what its type asks for: messages of tasks that run side by
    side mix, and clients tell them apart by these.
    """

    def __init__(self, steps: Steps) -> None:
        super().__init__(self._found, subgraphs=True)
        self._steps = steps
        self._streaming: set[UUID] = set()
        """Model calls that have said something. Known at once, also on another thread; `_open` only on the loop."""
        self._open: dict[UUID, Streamed] = {}

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        meta: Meta | None = self.metadata.get(run_id)
        if meta is not None and isinstance(chunk, ChatGenerationChunk):
            self._streaming.add(run_id)
            self._steps.on_loop(self._says, run_id, meta, chunk)

    def on_llm_end(
        self, response: LLMResult, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        meta: Meta | None = self.metadata.pop(run_id, None)
        generation = response.generations[0][0] if response.generations and response.generations[0] else None
        if run_id in self._streaming:
            self._streaming.discard(run_id)
            if isinstance(generation, ChatGeneration) and generation.message.id is not None:
                self.seen.add(generation.message.id)
            self._steps.on_loop(self._ends, run_id)
        elif meta is not None and isinstance(generation, ChatGeneration):
            self._emit(meta, generation.message, dedupe=True)

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self.metadata.pop(run_id, None)
        if run_id in self._streaming:
            self._streaming.discard(run_id)
            self._steps.on_loop(self._fails, run_id, type(error).__name__)

    def _found(self, chunk: StreamChunk) -> None:
        """A node has returned a message that was not streamed."""
        namespace, _, (message, metadata) = chunk
        self._steps.on_loop(self._shows, (namespace, metadata), message)

    def _shows(self, meta: Meta, message: BaseMessage) -> None:
        if isinstance(message, AIMessage):
            streamed = Streamed(self._steps, meta, None)
            streamed.tell(whole(message))
        else:  # a tool's result, say: there are no block events of it
            namespace, metadata = meta
            self._steps.put((namespace, "message", {"message": message, "metadata": _told(metadata)}))

    def _says(self, run_id: UUID, meta: Meta, chunk: ChatGenerationChunk) -> None:
        streamed = self._open.get(run_id)
        if streamed is None:
            streamed = self._open[run_id] = Streamed(self._steps, meta, run_id)
        streamed.tell(streamed.events.push(chunk))

    def _ends(self, run_id: UUID) -> None:
        streamed = self._open.pop(run_id, None)
        if streamed is not None:
            streamed.tell(streamed.events.finish())

    def _fails(self, run_id: UUID, error: str) -> None:
        streamed = self._open.pop(run_id, None)
        if streamed is not None:
            streamed.events.give_up()
            streamed.tell([{"event": "error", "message": error}])

    def close(self) -> None:
        """The run is over, and whatever still streamed with it."""
        for streamed in self._open.values():
            streamed.events.give_up()
        self._open.clear()


class Streamed:
    """One message on its way."""

    def __init__(self, steps: Steps, meta: Meta, run_id: UUID | None) -> None:
        self.events = BlockEvents()
        self._steps = steps
        self._namespace, self._metadata = meta
        self._names = {} if run_id is None else {"run_id": str(run_id)}

    def tell(self, events: list[BlockEvent]) -> None:
        for event in events:
            said = event | self._names
            if event["event"] == "message-start":
                self._names["message_id"] = event["id"]
                said["metadata"] = _told(self._metadata) | event.get("metadata", {})
            self._steps.put((self._namespace, "messages", said))


def _told(metadata: dict[str, Any]) -> dict[str, Any]:
    """What LangChain and the user said of the call, without LangGraph's own wiring."""
    return {key: value for key, value in metadata.items() if not key.startswith("__")}
