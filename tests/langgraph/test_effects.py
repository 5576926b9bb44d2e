"""What nodes return instead of doing: once, with an identity that a crash does not change."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt

from tests.langgraph.driving import Chat, Crash, Store, reply
from tests.langgraph.scripted import chain, model_node
from unbroken.adapters.langgraph.effects import Effects, collect, node_effects, schedule_timer
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.policy import CommitMode
from unbroken.domain.turn import Answer, NodeEffect


class State(MessagesState):
    effects: Effects


def places(answer: Answer) -> list[tuple[str, int, int, Any]]:
    return [(one.node_path, one.occurrence, one.ordinal, one.body.payload) for one in answer.effects]


def setting(*payloads: Any) -> Any:
    async def node(state: State) -> dict[str, Any]:
        return {"effects": [schedule_timer(5, payload=payload) for payload in payloads]}

    return node


@pytest.mark.asyncio
async def test_a_node_returns_an_effect_and_the_answer_carries_it() -> None:
    async def node(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("later")], "effects": [schedule_timer(600, {"a": 1}, "tea")]}

    answer = await Chat(chain(("remind", node), state=State)).say("hi")
    assert answer.effects == (NodeEffect(ScheduleTimer(600.0, {"a": 1}, "tea"), "remind", 0, 0),)


@pytest.mark.asyncio
async def test_a_plain_function_knows_its_place_too() -> None:
    def node(state: State) -> dict[str, Any]:
        return {"effects": [schedule_timer(1)]}

    answer = await Chat(chain(("remind", node), state=State)).say("hi")
    assert places(answer) == [("remind", 0, 0, None)]


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", list(CommitMode))
async def test_an_effect_belongs_to_one_event_only(mode: CommitMode) -> None:
    async def node(state: State) -> dict[str, Any]:
        said = str(state["messages"][-1].content)
        return {"effects": [schedule_timer(1, said)] if "remind" in said else []}

    chat = Chat(chain(("remind", node), ("answer", model_node()), state=State), commit=mode)
    assert places(await chat.say("remind one")) == [("remind", 0, 0, "remind one")]
    assert places(await chat.say("hello")) == []
    assert places(await chat.say("remind two")) == [("remind", 0, 0, "remind two")]


@pytest.mark.asyncio
async def test_runs_of_a_node_are_counted_and_effects_within_a_run(store: Store) -> None:
    async def node(state: State) -> dict[str, Any]:
        step = len(state["messages"])
        return {
            "messages": [AIMessage("more")],
            "effects": [schedule_timer(step, f"{step}a"), schedule_timer(step, f"{step}b")],
        }

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("again", node)
    builder.add_edge(START, "again")
    builder.add_conditional_edges("again", lambda state: "again" if len(state["messages"]) < 4 else END)
    answer = await Chat(builder.compile(), store=store).say("hi")
    assert places(answer) == [
        ("again", occurrence, ordinal, f"{occurrence + 1}{letter}")
        for occurrence in range(3)
        for ordinal, letter in enumerate("ab")
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", list(CommitMode))
@pytest.mark.parametrize("dies_in", ["a", "b", "c"])
async def test_a_crash_neither_doubles_an_effect_nor_changes_its_identity(
    store: Store, mode: CommitMode, dies_in: str
) -> None:
    doomed = [dies_in]

    def node(name: str) -> Any:
        async def run(state: State) -> dict[str, Any]:
            effects = [schedule_timer(1, f"{name} {number}") for number in range(2)]
            if doomed == [name]:
                doomed.clear()
                raise Crash
            return {"effects": effects}

        return run

    graph = chain(*[(name, node(name)) for name in "abc"], state=State)
    chat = Chat(graph, store=store, commit=mode)
    with pytest.raises(Crash):
        await chat.say("go")
    expected = [(name, 0, number, f"{name} {number}") for name in "abc" for number in range(2)]
    assert places(await chat.run(await chat.reclaim())) == expected
    assert places(await chat.say("again")) == expected


@pytest.mark.asyncio
async def test_parallel_runs_of_one_node_have_an_order_that_repeats() -> None:
    async def one(state: Any) -> dict[str, Any]:
        return {"effects": [schedule_timer(1, state["number"])]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("one", one)
    builder.add_conditional_edges(START, lambda state: [Send("one", {"number": n}) for n in range(4)], ["one"])
    chat = Chat(builder.compile())
    for _ in range(3):
        assert places(await chat.say("go")) == [("one", n, 0, n) for n in range(4)]


@pytest.mark.asyncio
async def test_a_subgraph_hands_its_effects_to_the_root_once() -> None:
    inner = chain(("note", setting("inner one", "inner two")), state=State)
    graph = chain(("before", setting("outer")), ("sub", inner), ("after", setting("last")), state=State)
    chat = Chat(graph)
    for _ in range(2):
        assert places(await chat.say("go")) == [
            ("before", 0, 0, "outer"),
            ("sub|note", 0, 0, "inner one"),
            ("sub|note", 0, 1, "inner two"),
            ("after", 0, 0, "last"),
        ]


@pytest.mark.asyncio
async def test_the_answer_to_a_question_does_not_set_the_questions_timers_again() -> None:
    async def ask(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage(str(interrupt("sure?")))]}

    chat = Chat(chain(("before", setting("once")), ("ask", ask), ("after", setting("later")), state=State))
    asked = await chat.say("go")
    assert places(asked) == [("before", 0, 0, "once")]
    answer = await chat.say(reply(asked.questions[0].interrupt_id, "yes"))
    assert places(answer) == [("after", 0, 0, "later")]


@pytest.mark.asyncio
async def test_a_payload_that_no_store_would_take_is_made_plain() -> None:
    answer = await Chat(chain(("set", setting("nul\x00", {"half": "\ud800"})), state=State)).say("go")
    assert [payload for *_, payload in places(answer)] == ["nul\ufffd", {"half": "\ufffd"}]


def test_a_helper_called_outside_a_graph_still_makes_an_effect() -> None:
    (effect,) = node_effects(collect([], [schedule_timer(3, "x")]))
    assert effect == NodeEffect(ScheduleTimer(3.0, "x", ""), "", 0, 0)


@pytest.mark.parametrize("after_s", [-1, float("nan"), float("inf")])
def test_a_timer_needs_a_finite_time(after_s: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        schedule_timer(after_s)
