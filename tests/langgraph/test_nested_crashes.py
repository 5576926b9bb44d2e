"""A crash before, within and after a graph within a graph that remembers its own state between messages."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from tests.langgraph.driving import Chat, Crash
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.turn_run import remembering_nodes
from unbroken.domain.policy import CommitMode

pytestmark = pytest.mark.asyncio


class Nested:
    """greet → prepare → inner (think → answer) → close; the process dies once in the node that is told to."""

    def __init__(self, *, remembers: bool) -> None:
        self.dies_in = ""
        self.runs: list[str] = []
        builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
        for name in ("think", "answer"):
            builder.add_node(name, self.node(name, says=name == "answer"))
        builder.add_edge(START, "think")
        builder.add_edge("think", "answer")
        inner = builder.compile(checkpointer=True if remembers else None)
        outer: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
        for name in ("greet", "prepare", "close"):
            outer.add_node(name, self.node(name, says=False))
        outer.add_node("inner", inner)
        outer.add_edge(START, "greet")
        outer.add_edge("greet", "prepare")
        outer.add_edge("prepare", "inner")
        outer.add_edge("inner", "close")
        self.graph: Graph = outer.compile()

    def node(self, name: str, *, says: bool) -> Any:
        async def run(state: MessagesState) -> dict[str, Any]:
            self.runs.append(name)
            if name == self.dies_in:
                self.dies_in = ""
                raise Crash
            return {"messages": [AIMessage(f"to {state['messages'][-1].text}")]} if says else {}

        return run


@pytest.mark.parametrize("dies_in", ["greet", "prepare", "think", "answer", "close"])
@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("mode", list(CommitMode))
async def test_the_second_message_is_answered_too_wherever_the_process_dies(
    mode: CommitMode, remembers: bool, dies_in: str
) -> None:
    nested = Nested(remembers=remembers)
    chat = Chat(nested.graph, commit=mode)
    assert (await chat.say("one")).text == "to one"
    nested.dies_in = dies_in
    with pytest.raises(Crash):
        await chat.run(await chat.accept("two"))
    answer = await chat.run(await chat.reclaim())
    assert answer.text == "to two"
    assert (await chat.say("three")).text == "to three"
    assert [text for _, text in await chat.spoken()] == ["one", "to one", "two", "to two", "three", "to three"]


@pytest.mark.parametrize(("remembers", "again"), [(True, ["prepare", "think", "answer"]), (False, ["think", "answer"])])
async def test_what_leads_into_a_graph_that_remembers_is_repeated_with_it(remembers: bool, again: list[str]) -> None:
    nested = Nested(remembers=remembers)
    chat = Chat(nested.graph)
    await chat.say("one")
    nested.dies_in = "answer"
    with pytest.raises(Crash):
        await chat.run(await chat.accept("two"))
    nested.runs.clear()
    await chat.run(await chat.reclaim())
    assert nested.runs == [*again, "close"]


async def test_a_graph_that_remembers_is_found_at_any_depth() -> None:
    deep: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    deep.add_node("within", Nested(remembers=True).graph)
    deep.add_edge(START, "within")
    assert remembering_nodes(deep.compile()) == {"within"}
    assert remembering_nodes(Nested(remembers=True).graph) == {"inner"}
    assert remembering_nodes(Nested(remembers=False).graph) == frozenset()
