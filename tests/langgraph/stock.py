"""The official saver, used as anyone would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command, StateSnapshot

from unbroken.adapters.langgraph.history import Graph


class StockChat:
    def __init__(
        self,
        graph: Graph,
        saver: BaseCheckpointSaver[Any],
        thread_id: str,
        *,
        durability: Literal["sync", "async", "exit"] = "sync",
    ) -> None:
        self.graph: Graph = graph.copy(update={"checkpointer": saver})
        self.durability = durability
        self.config: RunnableConfig = {"configurable": {"thread_id": thread_id, "user_id": "ann"}}

    async def say(self, text: str, event_id: str) -> None:
        await self.run({"messages": [HumanMessage(text, id=event_id)]})

    async def run(self, entry: Any) -> None:
        async for _ in self.graph.astream(entry, self.config, stream_mode="messages", durability=self.durability):
            pass

    async def respond(self, value: Any) -> None:
        (interrupt,) = (await self.snapshot()).interrupts
        await self.run(Command(resume={interrupt.id: value}))

    async def snapshot(self) -> StateSnapshot:
        return await self.graph.aget_state(self.config)

    async def spoken(self) -> list[tuple[str, str]]:
        messages = (await self.snapshot()).values.get("messages", [])
        return [(message.type, str(message.content)) for message in messages]


@asynccontextmanager
async def official_saver(url: str) -> AsyncIterator[AsyncPostgresSaver]:
    """Over tables that our migrations made: `setup` must find nothing to do, and does no harm."""
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()
        yield saver
