"""What a DeltaChannel is rebuilt from is what the official saver finds over the same tables."""

from __future__ import annotations

import operator
from typing import Annotated, Any

import pytest
from langchain_core.messages import AnyMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from typing_extensions import TypedDict

from tests.langgraph.driving import Chat
from tests.langgraph.scripted import model_node
from tests.langgraph.stock import official_saver
from unbroken.adapters.langgraph import delta_history
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.write_through import WriteThroughSaver
from unbroken.adapters.postgres.store import PostgresStore
from unbroken.domain.policy import CommitMode

pytestmark = pytest.mark.asyncio


def appended(state: list[int], writes: list[list[int]]) -> list[int]:
    return [*(state or []), *[number for write in writes for number in write]]


class Deltas(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=3)]
    numbers: Annotated[list[int], DeltaChannel(appended, snapshot_frequency=1000)]
    plain: Annotated[list[int], operator.add]


def graph() -> Graph:
    """Two writers side by side, then one: several writes stand beside one checkpoint."""

    def numbering(start: int) -> Any:
        async def node(state: Any) -> dict[str, Any]:
            return {"numbers": [start, len(state["messages"])], "plain": [start]}

        return node

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Deltas)
    builder.add_node("left", numbering(1))
    builder.add_node("right", numbering(2))
    builder.add_node("answer", model_node())
    builder.add_edge(START, "left")
    builder.add_edge(START, "right")
    builder.add_edge(["left", "right"], "answer")
    return builder.compile()


@pytest.fixture(params=[2, 64])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta_history, "PAGE", request.param)


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("mode", list(CommitMode))
async def test_every_checkpoints_history_equals_the_official_one(
    mode: CommitMode, postgres: PostgresStore, database_url: str
) -> None:
    chat = Chat(graph(), store=postgres, commit=mode)
    for text in ("one", "two", "three"):
        await chat.say(text)
    ours = WriteThroughSaver(postgres.checkpoints, postgres.checkpoint_upkeep)
    channels = ["messages", "numbers", "plain", "absent"]
    async with official_saver(database_url) as official:
        # Collected first: the official saver holds its lock while it yields.
        all_of_it = [found async for found in official.alist({"configurable": {"thread_id": chat.key.thread_id}})]
        assert len(all_of_it) == 12
        for found in all_of_it:
            theirs = await official.aget_delta_channel_history(config=found.config, channels=channels)
            assert await ours.aget_delta_channel_history(config=found.config, channels=channels) == theirs
    assert (await chat.values())["numbers"] == [1, 1, 2, 1, 1, 3, 2, 3, 1, 5, 2, 5]
