"""A served graph with one attempt's saver: the graph stays as it was loaded, and so does what may be read back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph._internal import _serde
from langgraph.checkpoint.serde import _msgpack
from langgraph.graph import START, MessagesState, StateGraph

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.langgraph.attachments import Attachments
from unbroken.adapters.langgraph.history import Graph, History, kept_by
from unbroken.adapters.langgraph.known_messages import KnownMessages, SplicingSerializer
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.adapters.memory.store import MemoryStore


@dataclass
class Cart:
    """A type of the graph's own, which LangGraph's strict mode lets through because the state names it."""

    items: int


class Shopping(MessagesState):
    cart: Cart


def served() -> Graph:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", "word")]}

    return StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()


def attempts_saver() -> StagingSaver:
    saver = StagingSaver(MemoryStore(SystemClock()).checkpoints, "thread", head="")
    saver.attach(Attachments(_no_file))
    return saver


async def _no_file(file_id: str) -> Any:
    raise AssertionError(f"nothing refers to a file, not to {file_id} either")


@pytest.mark.asyncio
@pytest.mark.parametrize("strict", [True, False])
async def test_each_attempt_s_state_is_its_saver_s_however_strict_langgraph_is(
    strict: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_serde, "STRICT_MSGPACK_ENABLED", strict)
    graph, savers = served(), [attempts_saver(), attempts_saver()]
    config: Any = {"configurable": {"thread_id": "thread"}}
    with caplog.at_level(logging.WARNING):
        for saver in savers:
            await kept_by(graph, saver).ainvoke({"messages": [("user", "word")]}, config)
    assert [len(saver.take().heads) for saver in savers] == [1, 1]
    assert graph.checkpointer is None
    assert not caplog.records  # a serializer that LangGraph does not know would be complained of in every turn


@pytest.mark.asyncio
@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("nested", [True, False])
async def test_strict_langgraph_reads_back_the_types_that_the_graph_s_state_names(
    nested: bool, files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_serde, "STRICT_MSGPACK_ENABLED", True)
    monkeypatch.setattr(_msgpack, "STRICT_MSGPACK_ENABLED", True)
    found: list[Any] = []

    async def shop(state: Shopping) -> dict[str, Any]:
        found.append(state.get("cart"))
        return {"cart": Cart(len(found))}

    shopping = StateGraph(Shopping).add_node("shop", shop).add_edge(START, "shop")
    graph: Graph = shopping.compile()
    if nested:
        remembers = shopping.compile(checkpointer=True)
        graph = StateGraph(MessagesState).add_node("inside", remembers).add_edge(START, "inside").compile()
    checkpoints, serde = MemoryStore(SystemClock()).checkpoints, SplicingSerializer(KnownMessages())
    saver = StagingSaver(checkpoints, "thread", head="", serde=serde)
    if files:
        saver.attach(Attachments(_no_file))
    kept, config = kept_by(graph, saver), RunnableConfig(configurable={"thread_id": "thread"})
    for _ in range(2):
        await kept.ainvoke({"messages": [("user", "on")]}, config)
    await History(kept, config).append([AIMessage("between")])
    await kept.ainvoke({"messages": [("user", "on")]}, config)
    assert found == [None, Cart(1), Cart(2)]
