"""One node whose model answers over a real socket, where somebody counts what it is asked (tests/replicas/provider.py).

UNBROKEN_TEST_PROVIDER names its address, UNBROKEN_TEST_REPLICA who asks.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph

from tests.graphs.scripted import Outage, ScriptedModel, said


class BilledModel(ScriptedModel):
    model: str = "billed"
    thread: str

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        host, _, port = os.environ["UNBROKEN_TEST_PROVIDER"].rpartition(":")
        event = next(message.id for message in reversed(messages) if isinstance(message, HumanMessage))
        replica = os.environ["UNBROKEN_TEST_REPLICA"]
        order = {"replica": replica, "thread": self.thread, "event": event, "said": said(messages)}
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(json.dumps(order).encode() + b"\n")
            while (line := await reader.readline()) != b"null\n":
                if not line:
                    raise Outage("the provider hung up")
                yield ChatGenerationChunk(message=AIMessageChunk(content=json.loads(line)))
        finally:
            writer.transport.abort()


async def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    model = BilledModel(thread=config["configurable"]["thread_id"])
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
