"""A served graph with one attempt's saver: the graph stays as it was loaded, and so does what may be read back."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from langgraph._internal import _serde
from langgraph.graph import START, MessagesState, StateGraph

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.langgraph.attachments import Attachments
from unbroken.adapters.langgraph.history import Graph, kept_by
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.adapters.memory.store import MemoryStore


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
