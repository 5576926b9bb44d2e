"""With the whole history kept, a thread's states are those that LangGraph's own saver would have kept: told one by one,
in their order, each with its tasks and what came of them."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from tests.langgraph.driving import Chat, Store
from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.loading import LangGraphAgents
from unbroken.adapters.langgraph.thread_states import GraphStates
from unbroken.domain.errors import InvalidValue
from unbroken.domain.events import InputResponse, RunStart
from unbroken.domain.policy import CommitMode, question_id
from unbroken.domain.ports.thread_states import Spot

pytestmark = pytest.mark.asyncio


class Trail(TypedDict):
    trail: Annotated[list[str], add]


def went(name: str) -> Any:
    return lambda state: {"trail": [f"{name}{len(state['trail'])}"]}


def asks(state: Trail) -> Any:
    return {"trail": [interrupt({"question": "on?"})]}


def steps() -> Graph:
    graph = StateGraph(Trail)
    graph.add_sequence([("a", went("a")), ("b", went("b")), ("c", went("c"))])
    graph.add_edge(START, "a")
    return cast("Graph", graph.compile())


def fanning() -> Graph:
    graph = StateGraph(Trail)
    graph.add_node("a", went("a"))
    graph.add_node("each", lambda sent: {"trail": [sent["one"]]})
    graph.add_node("last", went("last"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda _: [Send("each", {"one": name}) for name in "xyz"], ["each"])
    graph.add_edge("each", "last")
    return cast("Graph", graph.compile())


def nested() -> Graph:
    inner = StateGraph(Trail)
    inner.add_sequence([("in1", went("in1")), ("in2", went("in2"))])
    inner.add_edge(START, "in1")
    graph = StateGraph(Trail)
    graph.add_sequence([("a", went("a")), ("inner", inner.compile()), ("b", went("b"))])
    graph.add_edge(START, "a")
    return cast("Graph", graph.compile())


def asking() -> Graph:
    graph = StateGraph(Trail)
    graph.add_sequence([("a", went("a")), ("asks", asks), ("b", went("b"))])
    graph.add_edge(START, "a")
    return cast("Graph", graph.compile())


GRAPHS = {"steps": steps, "fanning": fanning, "nested": nested, "asking": asking}


def shape(state: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on ids and moments."""
    tasks = [
        (task["name"], sorted((task["result"] or {}).get("trail", [])), [one["value"] for one in task["interrupts"]])
        for task in state["tasks"]
    ]
    metadata = {name: state["metadata"][name] for name in ("source", "step")}
    return {"values": state["values"], "next": state["next"], "tasks": tasks, "metadata": metadata}


@pytest.mark.parametrize("mode", list(CommitMode))
@pytest.mark.parametrize("name", GRAPHS)
async def test_every_state_is_told_as_langgraph_s_own_saver_keeps_it(store: Store, name: str, mode: CommitMode) -> None:
    ours = Chat(GRAPHS[name](), store=store, commit=mode)
    ours.agent = LangGraphAgent(ours.graph, store.checkpoints, commit=mode, whole_history=True)
    stock = GRAPHS[name]().copy(update={"checkpointer": InMemorySaver()})
    config: Any = {"configurable": {"thread_id": "stock"}}
    for words in ("one", "two"):
        answer = await ours.say(RunStart({"trail": [words]}))
        await stock.ainvoke({"trail": [words]}, config)
        if answer.questions:
            asked = question_id(answer.questions[0].interrupt_id, 1 if words == "one" else 3)
            await ours.say(InputResponse(asked, "yes"))
            await stock.ainvoke(Command(resume="yes"), config)
    states = GraphStates(LangGraphAgents({"demo": ours.agent}), store.checkpoints)
    told = [shape(state) for state in await states.history(ours.key, limit=100)]
    expected = [shape(theirs_of(snapshot)) async for snapshot in stock.aget_state_history(config)]
    assert told == expected
    assert len(told) > 8
    pages: list[dict[str, Any]] = []
    before: str | None = None
    while page := await states.history(ours.key, limit=3, before=before):
        pages += page
        before = page[-1]["checkpoint_id"]
    assert [shape(state) for state in pages] == told
    for state in pages:
        again = await states.read(ours.key, Spot(state["checkpoint_id"]))
        assert (again["values"], again["next"]) == (state["values"], state["next"])
    parents = [state["parent_checkpoint_id"] for state in pages]
    assert parents == [*(state["checkpoint_id"] for state in pages[1:]), None]


def theirs_of(snapshot: Any) -> dict[str, Any]:
    return {
        "values": snapshot.values,
        "next": list(snapshot.next),
        "metadata": snapshot.metadata,
        "tasks": [
            {
                "name": task.name,
                "result": task.result,
                "interrupts": [{"value": one.value} for one in task.interrupts],
            }
            for task in snapshot.tasks
        ],
    }


async def test_states_that_are_too_long_together_are_refused_and_fewer_are_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Chat(steps(), store=store)
    ours.agent = LangGraphAgent(ours.graph, store.checkpoints, whole_history=True)
    await ours.say(RunStart({"trail": ["x" * 4_000]}))
    monkeypatch.setattr("unbroken.adapters.langgraph.thread_states.MOST_BYTES", 10_000)
    states = GraphStates(LangGraphAgents({"demo": ours.agent}), store.checkpoints)
    with pytest.raises(InvalidValue, match="states are"):
        await states.history(ours.key, limit=5)
    assert len(await states.history(ours.key, limit=2)) == 2
