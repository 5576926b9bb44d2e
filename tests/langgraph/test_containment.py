"""Whatever an agent's code does, its turn fails and the process goes on."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from tests.langgraph.driving import Chat
from tests.langgraph.stages import Builder, calls
from unbroken.adapters.langgraph.containment import Exited, agent_code, left_behind
from unbroken.adapters.langgraph.history import Graph
from unbroken.domain.errors import AgentRaised
from unbroken.domain.policy import CommitMode

pytestmark = pytest.mark.asyncio

MODES = list(CommitMode)


class Own(BaseException):
    """Somebody's way out of everything."""


EXITS = [SystemExit, KeyboardInterrupt, Own]


class Raising:
    """A graph one of whose nodes raises once, alone or beside others."""

    def __init__(self, error: BaseException, *, beside: int = 0, sync: bool = False) -> None:
        self.error: BaseException | None = error
        self.beside = beside
        self.sync = sync

    def raises(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def graph(self) -> Graph:
        async def node(state: MessagesState) -> dict[str, Any]:
            self.raises()
            return {"messages": [AIMessage("well")]}

        def sync(state: MessagesState) -> dict[str, Any]:
            self.raises()
            return {"messages": [AIMessage("well")]}

        async def other(state: MessagesState) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {}

        builder: Builder = StateGraph(MessagesState)
        builder.add_node("node", sync if self.sync else node)
        builder.add_edge(START, "node")
        for number in range(self.beside):
            builder.add_node(f"other{number}", other)
            builder.add_edge(START, f"other{number}")
        return builder.compile()


def survives(work: Callable[[], Any]) -> None:
    """Run on an event loop of its own: an exit that gets out of a task would end the test run's."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(work())).result(30)


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@pytest.mark.parametrize("beside", [0, 2], ids=["alone", "beside others"])
@pytest.mark.parametrize("exit_", EXITS)
async def test_an_exit_inside_a_node_fails_the_turn_and_nothing_else(
    exit_: type[BaseException], beside: int, sync: bool
) -> None:
    async def work() -> None:
        chat = Chat(Raising(exit_("now"), beside=beside, sync=sync).graph())
        claim = await chat.accept("go")
        with pytest.raises(AgentRaised, match=exit_.__name__) as failure:
            await chat.agent.run(chat.attempt(claim))
        assert not failure.value.retryable
        await chat.revert(claim)
        assert (await chat.say("again")).text == "well"

    survives(work)


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_that_exits_fails_the_turn(mode: CommitMode) -> None:
    @tool
    async def quits() -> str:
        """Parses its arguments as a program would."""
        sys.exit(2)

    @tool
    def quits_in_a_thread() -> str:
        """The same, synchronously."""
        sys.exit("no such option")

    async def work() -> None:
        for name in ("quits", "quits_in_a_thread"):
            builder: Builder = StateGraph(MessagesState)
            builder.add_node("agent", lambda state, name=name: {"messages": [calls(name)]})
            builder.add_node("tools", ToolNode([quits, quits_in_a_thread], handle_tool_errors=False))
            builder.add_edge(START, "agent")
            builder.add_edge("agent", "tools")
            chat = Chat(builder.compile(), commit=mode)
            with pytest.raises(AgentRaised, match="SystemExit"):
                await chat.agent.run(chat.attempt(await chat.accept("go")))

    survives(work)


async def test_threads_that_never_return_stop_no_other_thread_of_the_process() -> None:
    release = threading.Event()
    everybody = threading.Barrier(41)

    def block(state: MessagesState) -> dict[str, Any]:
        if state["messages"][-1].content == "go":
            everybody.wait(20)
            release.wait(60)
        return {"messages": [AIMessage("done")]}

    builder: Builder = StateGraph(MessagesState)
    builder.add_node("block", block)
    builder.add_edge(START, "block")
    graph = builder.compile()
    loop = asyncio.get_running_loop()
    try:
        chats = [Chat(graph) for _ in range(40)]
        claims = [await chat.accept("go") for chat in chats]
        runs = [
            asyncio.ensure_future(chat.agent.run(chat.attempt(claim)))
            for chat, claim in zip(chats, claims, strict=True)
        ]
        async with asyncio.timeout(20):
            with agent_code():
                await asyncio.to_thread(everybody.wait, 20)
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)
            assert (await Chat(graph).say("and me")).text == "done"
            assert await loop.run_in_executor(None, lambda: "looked up") == "looked up"
    finally:
        release.set()


async def test_the_rest_of_the_process_keeps_its_own_threads() -> None:
    name: Callable[[], str] = lambda: threading.current_thread().name  # noqa: E731
    loop = asyncio.get_running_loop()
    with agent_code():
        inside = await loop.run_in_executor(None, name)
        nested = await asyncio.create_task(asyncio.to_thread(name))
    assert inside.startswith("unbroken-agent")
    assert nested.startswith("unbroken-agent")
    assert not (await loop.run_in_executor(None, name)).startswith("unbroken-agent")


async def test_only_an_agents_tasks_are_contained_and_their_results_are_their_own() -> None:
    async def work(value: str) -> str:
        await asyncio.sleep(0)
        return value

    async def leave() -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    with agent_code():
        task = asyncio.create_task(work("inside"), name="named")
        assert (task.get_name(), await task) == ("named", "inside")
        with pytest.raises(Exited, match="SystemExit: 3"):
            await asyncio.create_task(leave())
    assert await asyncio.create_task(work("outside")) == "outside"


async def test_a_node_beside_others_that_raises_generator_exit_fails_the_turn() -> None:
    async def work() -> None:
        chat = Chat(Raising(GeneratorExit(), beside=2).graph())
        with pytest.raises(AgentRaised, match="GeneratorExit"):
            await chat.agent.run(chat.attempt(await chat.accept("go")))

    survives(work)


async def test_a_task_that_is_cancelled_before_it_began_leaves_nothing_behind() -> None:
    async def work() -> None:
        raise AssertionError("it began")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with agent_code():
            task = asyncio.create_task(work())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_a_node_that_swallows_its_cancellation_commits_nothing_more() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stubborn(state: MessagesState) -> dict[str, Any]:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
        return {"messages": [AIMessage("too late")]}

    async def after(state: MessagesState) -> dict[str, Any]:
        raise AssertionError("a stopped run went on")

    builder: Builder = StateGraph(MessagesState)
    builder.add_node("stubborn", stubborn)
    builder.add_node("after", after)
    builder.add_edge(START, "stubborn")
    builder.add_edge("stubborn", "after")
    chat = Chat(builder.compile())
    settled = await chat.stop(await chat.accept("go"), begun)
    assert ended.is_set()
    assert (settled.text, chat.seen.supersteps) == ("", [])
    assert await chat.messages() == []


async def test_a_thread_that_outlives_its_attempt_is_counted_until_it_ends() -> None:
    entered, leave = threading.Event(), threading.Event()

    def blocks(state: MessagesState) -> dict[str, Any]:
        entered.set()
        leave.wait(30)
        return {"messages": [AIMessage("late")]}

    before = left_behind()
    chat = Chat(StateGraph(MessagesState).add_node(blocks).add_edge(START, "blocks").compile())
    attempt = asyncio.create_task(chat.run(await chat.accept("hello")))
    assert await asyncio.to_thread(entered.wait, 30)
    assert left_behind() == before, "it belongs to an attempt that runs"
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    assert left_behind() == before + 1
    leave.set()
    async with asyncio.timeout(10):
        while left_behind() > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
