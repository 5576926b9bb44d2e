"""Three ways the official saver loses turns, each shown with it and then not with ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import id as langgraph_ids
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import MessagesState

from tests.langgraph.driving import Chat, Crash
from tests.langgraph.scripted import chain, echo, model_node
from tests.langgraph.stock import StockChat, official_saver
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.postgres.store import PostgresStore
from unbroken.domain.errors import Fenced
from unbroken.domain.turn import TurnChange

pytestmark = pytest.mark.asyncio

MINUTE_NS = 60_000_000_000

Process = Callable[[int], None]


@pytest_asyncio.fixture
async def official(database_url: str) -> AsyncIterator[AsyncPostgresSaver]:
    async with official_saver(database_url) as saver:
        yield saver


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    """From here on, ids are made as by a process of its own whose clock is off by so many nanoseconds."""

    def begin(off_by_ns: int) -> None:
        class Clock:
            @staticmethod
            def time_ns() -> int:
                return time.time_ns() + off_by_ns

        monkeypatch.setattr(langgraph_ids, "time", Clock)
        monkeypatch.setattr(langgraph_ids, "_last_v6_timestamp", None)

    return begin


def answering() -> Graph:
    return chain(("answer", model_node(echo)))


def said(spoken: list[tuple[str, str]]) -> list[str]:
    return [text for kind, text in spoken if kind == "human"]


async def test_stock_a_turn_vanishes_when_the_next_process_is_a_minute_behind(
    official: AsyncPostgresSaver, process: Process
) -> None:
    chat = StockChat(answering(), official, "thread")
    process(0)
    await chat.say("one", "event-1")
    process(-MINUTE_NS)
    await chat.say("two", "event-2")
    assert said(await chat.spoken()) == ["one"]


async def test_ours_keeps_every_turn_whatever_the_clocks_say(
    postgres: PostgresStore, official: AsyncPostgresSaver, process: Process
) -> None:
    chat = Chat(answering(), store=postgres)
    for number, off_by_ns in enumerate([0, -MINUTE_NS, 60 * MINUTE_NS, -60 * MINUTE_NS]):
        process(off_by_ns)
        await chat.say(f"message {number}")
    everything = [f"message {number}" for number in range(4)]
    assert said(await chat.spoken()) == everything
    assert said(await StockChat(answering(), official, chat.key.thread_id).spoken()) == everything


class Stall:
    """The first run of the node stands still until it thaws."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.thaw = asyncio.Event()
        self._first = True

    async def node(self, state: MessagesState) -> dict[str, Any]:
        if self._first:
            self._first = False
            self.reached.set()
            await self.thaw.wait()
        return {"messages": [AIMessage(f"answer to {state['messages'][-1].content}")]}


async def test_stock_a_stalled_owner_that_thaws_erases_its_successors_turns(official: AsyncPostgresSaver) -> None:
    stall = Stall()
    stalled = StockChat(chain(("answer", stall.node)), official, "thread")
    late = asyncio.ensure_future(stalled.say("one", "event-1"))
    await stall.reached.wait()
    successor = StockChat(chain(("answer", stall.node)), official, "thread")
    await successor.say("one", "event-1")
    await successor.say("two", "event-2")
    assert said(await successor.spoken()) == ["one", "two"]
    stall.thaw.set()
    await late  # without any error
    assert said(await successor.spoken()) == ["one"]


async def test_ours_fences_the_owner_that_thaws(postgres: PostgresStore) -> None:
    stall = Stall()
    chat = Chat(chain(("answer", stall.node)), store=postgres)
    claim = await chat.accept("one")
    late = asyncio.ensure_future(chat.agent.run(chat.attempt(claim)))
    await stall.reached.wait()
    await chat.run(await chat.reclaim())
    await chat.say("two")
    stall.thaw.set()
    answer = await late
    with pytest.raises(Fenced):
        await postgres.unit_of_work.commit(TurnChange(claim, answer.state, finishes=True))
    assert said(await chat.spoken()) == ["one", "two"]


class DiesAtPut(AsyncPostgresSaver):
    """The process dies after a node's writes are stored, before the checkpoint that applies them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.armed = True
        self.written = asyncio.Event()

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if self.armed and metadata["step"] == 1:
            self.armed = False
            await self.written.wait()
            raise Crash
        return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        await super().aput_writes(config, writes, task_id, task_path)
        self.written.set()


async def test_stock_a_crash_between_writes_and_put_looks_finished_and_loses_the_answer(database_url: str) -> None:
    async with DiesAtPut.from_conn_string(database_url) as dying:
        await dying.setup()
        chat = StockChat(answering(), dying, "thread")
        with pytest.raises(Crash):
            await chat.say("one", "event-1")
        assert (await chat.snapshot()).next == ()  # although the run is unfinished
        await chat.say("two", "event-2")
        assert [text for _, text in await chat.spoken()] == ["one", "two", "you said two"]


async def test_stock_the_same_input_again_doubles_the_message(database_url: str) -> None:
    async with DiesAtPut.from_conn_string(database_url) as dying:
        await dying.setup()
        chat = StockChat(answering(), dying, "thread")
        with pytest.raises(Crash):
            await chat.run({"messages": [HumanMessage("one")]})
        await chat.run({"messages": [HumanMessage("one")]})
        assert said(await chat.spoken()) == ["one", "one"]


@pytest.mark.parametrize("dies_at", range(4))
async def test_ours_answers_once_wherever_a_crash_stands_between_writes_and_put(
    postgres: PostgresStore, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbroken.adapters.langgraph.saver import StagingSaver

    puts: list[int] = []
    put = StagingSaver.aput

    async def dying(self: StagingSaver, *args: Any) -> Any:
        puts.append(1)
        if len(puts) == dies_at + 1:
            raise Crash
        return await put(self, *args)

    chat = Chat(chain(("plan", model_node(echo)), ("answer", model_node(echo))), store=postgres)
    claim = await chat.accept("one")
    monkeypatch.setattr(StagingSaver, "aput", dying)
    with pytest.raises(Crash):
        await chat.run(claim)
    await chat.run(await chat.reclaim())
    await chat.say("two")
    spoken = [text for _, text in await chat.spoken()]
    assert spoken == ["one", "you said one", "you said you said one", "two", "you said two", "you said you said two"]
