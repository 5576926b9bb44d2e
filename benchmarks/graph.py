"""The one graph that every server runs: a node that asks a model, a model that recites.

`TOKENS`, `FIRST_S` and `GAP_S` in the environment: how many tokens a turn has, and the pauses in seconds before the
first and between two of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph

from benchmarks.recital import words


class RecitingModel(BaseChatModel):
    tokens: int
    model: str = "reciting"
    """What telemetry calls it."""
    first_s: float = 0.0
    gap_s: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "reciting"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("".join(words(self.tokens))))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        pause_s = self.first_s
        for word in words(self.tokens):
            if pause_s:
                await asyncio.sleep(pause_s)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
            pause_s = self.gap_s


def graph_of(model: RecitingModel) -> StateGraph[MessagesState, None, MessagesState, MessagesState]:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")


builder = graph_of(
    RecitingModel(
        tokens=int(os.environ.get("TOKENS", "64")),
        first_s=float(os.environ.get("FIRST_S", "0")),
        gap_s=float(os.environ.get("GAP_S", "0")),
    )
)
graph = builder.compile()
