"""When an attempt commits, and what a crash repeats."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from tests.langgraph.driving import Chat, Crash
from tests.langgraph.scripted import chain, echo, model_node
from unbroken.adapters.langgraph.history import Graph
from unbroken.domain.errors import Fenced, StoreUnavailable
from unbroken.domain.policy import CommitMode
from unbroken.domain.turn import TurnChange

pytestmark = pytest.mark.asyncio


class Counted:
    """Nodes that count their runs, and one that dies the first time."""

    def __init__(self, dies_in: str = "", *, says: bool = True) -> None:
        self.runs: list[str] = []
        self.dies_in = dies_in
        self.says = says

    def node(self, name: str) -> Any:
        async def run(state: MessagesState) -> dict[str, Any]:
            self.runs.append(name)
            if name == self.dies_in:
                self.dies_in = ""
                raise Crash
            return {"messages": [AIMessage(f"{name} after {len(state['messages'])}")]} if self.says else {}

        return run

    def chain(self, *names: str, **options: Any) -> Graph:
        return chain(*[(name, self.node(name)) for name in names], **options)


async def crashed(chat: Chat, text: str = "go") -> None:
    with pytest.raises(Crash):
        await chat.run(await chat.accept(text))


async def test_one_node_commits_once_in_either_mode() -> None:
    for mode in CommitMode:
        chat = Chat(chain(("answer", model_node())), commit=mode)
        answer = await chat.say("hello")
        assert chat.seen.supersteps == []
        assert [row.checkpoint_ns for row in answer.state.checkpoints] == [""]
        assert answer.state.writes == ()


async def test_a_superstep_is_committed_before_the_next_ones_nodes_start() -> None:
    order: list[str] = []
    counted = Counted()

    def logging(name: str) -> Any:
        inner = counted.node(name)

        async def node(state: MessagesState) -> Any:
            order.append(f"{name} starts")
            return await inner(state)

        return node

    chat = Chat(chain(*[(name, logging(name)) for name in "abc"]))
    attempt = chat.attempt(await chat.accept("go"))
    commit = attempt.commit_superstep

    async def slow_commit(change: Any) -> None:
        order.append("commit begins")
        for _ in range(20):
            await asyncio.sleep(0)
        await commit(change)
        order.append("commit ends")

    attempt.commit_superstep = slow_commit  # type: ignore[method-assign]
    await chat.agent.run(attempt)
    boundary = ["commit begins", "commit ends"]
    assert order == ["a starts", *boundary, "b starts", *boundary, "c starts"]


async def test_a_crash_repeats_only_the_superstep_it_hit() -> None:
    counted = Counted(dies_in="c")
    chat = Chat(counted.chain("a", "b", "c"))
    await crashed(chat)
    claim = await chat.reclaim()
    assert claim.resumes
    answer = await chat.run(claim)
    assert counted.runs == ["a", "b", "c", "c"]
    assert answer.text == "a after 1\n\nb after 2\n\nc after 3"
    assert [kind for kind, _ in await chat.spoken()] == ["human", "ai", "ai", "ai"]


async def test_an_attempt_that_resumes_begins_with_the_committed_text() -> None:
    counted = Counted()
    chat = Chat(counted.chain("a", "b", "c"))
    await chat.say("first")
    counted.dies_in = "c"
    await crashed(chat)
    answer = await chat.run(await chat.reclaim())
    assert [text for _, text in chat.seen.begun_with] == ["a after 5", "b after 6"]
    assert chat.seen.stream.text == answer.text


async def test_in_turn_mode_a_crash_repeats_the_whole_turn_from_the_message() -> None:
    counted = Counted(dies_in="c")
    chat = Chat(counted.chain("a", "b", "c"), commit=CommitMode.TURN)
    await crashed(chat)
    claim = await chat.reclaim()
    assert not claim.resumes
    await chat.run(claim)
    assert counted.runs == ["a", "b", "c", "a", "b", "c"]
    assert [kind for kind, _ in await chat.spoken()] == ["human", "ai", "ai", "ai"]


async def test_a_crash_in_the_first_superstep_gives_the_message_again_but_once() -> None:
    counted = Counted(dies_in="a")
    chat = Chat(counted.chain("a", "b"))
    await crashed(chat)
    claim = await chat.reclaim()
    assert not claim.resumes
    await chat.run(claim)
    assert [kind for kind, _ in await chat.spoken()] == ["human", "ai", "ai"]


async def test_parallel_siblings_wait_for_one_commit() -> None:
    counted = Counted()
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    for name in ("first", "left", "right", "last"):
        builder.add_node(name, counted.node(name))
    builder.add_edge(START, "first")
    builder.add_edge("first", "left")
    builder.add_edge("first", "right")
    builder.add_edge(["left", "right"], "last")
    builder.add_edge("last", END)
    chat = Chat(builder.compile())
    await chat.say("go")
    assert len(chat.seen.supersteps) == 2
    assert all(len(change.checkpoints) == 1 for change in chat.seen.supersteps)


async def test_a_failing_superstep_commit_ends_the_attempt_before_the_next_node() -> None:
    for failure in (Fenced("another owner"), StoreUnavailable("gone")):
        counted = Counted()
        chat = Chat(counted.chain("a", "b"))
        attempt = chat.attempt(await chat.accept("go"))

        async def fails(change: Any, failure: Exception = failure) -> None:
            raise failure

        attempt.commit_superstep = fails  # type: ignore[method-assign]
        with pytest.raises(type(failure)):
            await chat.agent.run(attempt)
        assert counted.runs == ["a"]


async def test_nodes_that_add_no_message_are_not_run_again_either() -> None:
    counted = Counted(dies_in="c", says=False)
    chat = Chat(counted.chain("a", "b", "c"))
    await crashed(chat)
    await chat.run(await chat.reclaim())
    assert counted.runs == ["a", "b", "c", "c"]


async def test_a_failed_event_leaves_nothing_in_the_models_state() -> None:
    counted = Counted()
    chat = Chat(counted.chain("a", "b"))
    await chat.say("one")
    claim = await chat.accept("two")
    counted.dies_in = "b"
    with pytest.raises(Crash):
        await chat.run(claim)
    await chat.revert(await chat.reclaim())
    await chat.say("three")
    assert [text for kind, text in await chat.spoken() if kind == "human"] == ["one", "three"]


async def test_a_superseded_owner_is_fenced_and_leaves_no_trace() -> None:
    chat = Chat(chain(("answer", model_node(echo))))
    stalled = await chat.accept("hello")
    late = await chat.agent.run(chat.attempt(stalled))
    await chat.run(await chat.reclaim())
    before = await chat.messages()
    with pytest.raises(Fenced):
        await chat.store.unit_of_work.commit(TurnChange(stalled, late.state, finishes=True))
    assert await chat.messages() == before
