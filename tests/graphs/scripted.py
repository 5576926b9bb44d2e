"""A model that streams `speech` word by word; a message says how: `words=40 pause=0.02`."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel, agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from tests.graphs.speech import Said, option, speech

PAUSE_S = 0.002
TOOL_CALL = re.compile(r"\bweigh ([0-9]+)")


class Outage(ConnectionError):
    """What a provider's network trouble looks like: it may pass by itself."""


class ScriptedModel(BaseChatModel):
    """`fail=3` raises after three words, `die=3` takes the process along; `weigh 7` calls the tool `weigh` first."""

    model: str = "scripted"
    """What telemetry calls it."""
    tools: bool = False
    """Without it, there is no tool to call."""
    fails_by: str = "fail"
    """The option that makes it raise."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise AssertionError("this model works on the event loop only")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        conversation = said(messages)
        if self.tools and (call := TOOL_CALL.search(conversation[-1][1])) and isinstance(messages[-1], HumanMessage):
            for piece in _calling(call[1]):
                yield ChatGenerationChunk(message=piece)
            return
        pause_s = option(conversation, "pause", PAUSE_S)
        fails_after, dies_after = option(conversation, self.fails_by, -1), option(conversation, "die", -1)
        for index, text in enumerate(speech(conversation, secrets.token_hex(2))):
            if index == fails_after:
                raise Outage("the line went dead") if "outage" in conversation[-1][1] else ValueError("told to fail")
            if index == dies_after:
                os.kill(os.getpid(), signal.SIGKILL)
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))
            await asyncio.sleep(pause_s)


def said(messages: Sequence[BaseMessage]) -> list[Said]:
    return [(message.type, str(message.text)) for message in messages]


def _calling(grams: str) -> list[AIMessageChunk]:
    """A tool call in two pieces, as providers stream it."""
    call_id = f"call-{secrets.token_hex(4)}"
    first = tool_call_chunk(name="weigh", args='{"grams": ', id=call_id, index=0)
    rest = tool_call_chunk(name=None, args=f"{grams}}}", id=None, index=0)
    return [AIMessageChunk(content="", tool_call_chunks=[first]), AIMessageChunk(content="", tool_call_chunks=[rest])]
