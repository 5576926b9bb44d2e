"""One streamed model message as content-block events: message-start, content-block-start/delta/finish, message-finish.

LangChain makes these events (types: `langchain-protocol`) from an iterator of chunks that it pulls itself. Chunks come
here by callbacks, one at a time; so its generator is run by hand, up to the point where it asks for the next one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any, cast

from langchain_core.language_models._compat_bridge import achunks_to_events, message_to_events
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk

BlockEvent = dict[str, Any]
"""One of `langchain_protocol.MessagesData`."""


class BlockEvents:
    """The events of one message, as its chunks come. Not thread-safe."""

    def __init__(self) -> None:
        self._chunks = _Pushed()
        self._events = cast("AsyncGenerator[BlockEvent, None]", achunks_to_events(self._chunks))
        self._step: Generator[Any, Any, BlockEvent] | None = None

    def push(self, chunk: ChatGenerationChunk) -> list[BlockEvent]:
        self._chunks.next = chunk
        return self._until_hungry()

    def finish(self) -> list[BlockEvent]:
        """No chunk comes any more: the blocks' ends, and the message's. Empty if nothing was pushed."""
        self._chunks.ended = True
        return self._until_hungry()

    def give_up(self) -> None:
        """The message breaks off. Without this the event loop would be asked to close the generator."""
        if self._step is not None:
            self._step.close()
        with suppress(StopIteration, RuntimeError):
            self._events.aclose().__await__().send(None)

    def _until_hungry(self) -> list[BlockEvent]:
        events: list[BlockEvent] = []
        while True:
            if self._step is None:
                self._step = self._events.__anext__().__await__()
            try:
                self._step.send(None)
            except StopIteration as yielded:
                self._step = None
                events.append(yielded.value)
            except StopAsyncIteration:
                self._step = None
                return events
            else:
                return events


class _Pushed:
    def __init__(self) -> None:
        self.next: ChatGenerationChunk | None = None
        self.ended = False

    def __aiter__(self) -> _Pushed:
        return self

    async def __anext__(self) -> ChatGenerationChunk:
        while self.next is None:
            if self.ended:
                raise StopAsyncIteration
            await _Hungry()
        chunk, self.next = self.next, None
        return chunk


class _Hungry:
    def __await__(self) -> Generator[None, None, None]:
        yield


def whole(message: AIMessage) -> list[BlockEvent]:
    """The events of a message that was not streamed."""
    return [cast("BlockEvent", event) for event in message_to_events(message, message_id=message.id)]
