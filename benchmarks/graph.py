"""The one graph that every server runs: a node that asks a model, a model that recites.

`TOKENS`, `FIRST_S` and `GAP_S` in the environment: how many tokens a turn has, the pause before the first and
between two of them.
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

TOKENS = int(os.environ.get("TOKENS", "64"))
FIRST_S = float(os.environ.get("FIRST_S", "0"))
GAP_S = float(os.environ.get("GAP_S", "0"))
WORDS = [f"word{number} " for number in range(TOKENS)]


class RecitingModel(BaseChatModel):
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
        return ChatResult(generations=[ChatGeneration(message=AIMessage("".join(WORDS)))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if FIRST_S:
            await asyncio.sleep(FIRST_S)
        for word in WORDS:
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
            if GAP_S:
                await asyncio.sleep(GAP_S)


MODEL = RecitingModel()


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await MODEL.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
graph = builder.compile()
