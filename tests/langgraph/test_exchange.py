"""Threads written by the official saver go on here, and ours go on there, with no migration (X2)."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState

from tests.langgraph.driving import Chat, Crash, reply
from tests.langgraph.scripted import chain, model_node
from tests.langgraph.shapes import SHAPES, question
from tests.langgraph.stock import StockChat, official_saver
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.postgres.store import PostgresStore
from unbroken.domain.policy import CommitMode

pytestmark = pytest.mark.asyncio

MODES = list(CommitMode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_thread_of_the_official_saver_goes_on_here(
    shape: str, mode: CommitMode, postgres: PostgresStore, database_url: str
) -> None:
    async with official_saver(database_url) as official:
        alone = StockChat(SHAPES[shape](), official, "alone")
        theirs = StockChat(SHAPES[shape](), official, "theirs")
        for stock in (theirs, alone):
            await stock.say("one", "event-0")
            await stock.say("two", "event-1")
        chat = Chat(SHAPES[shape](), store=postgres, commit=mode, thread_id="theirs")
        for number, text in enumerate(["three", "four"], start=2):
            await alone.say(text, f"event-{number}")
            await chat.say(text, f"event-{number}")
        assert await chat.spoken() == await alone.spoken()
        assert await theirs.spoken() == await alone.spoken()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_thread_of_ours_goes_on_with_the_official_saver(
    shape: str, mode: CommitMode, postgres: PostgresStore, database_url: str
) -> None:
    async with official_saver(database_url) as official:
        chat = Chat(SHAPES[shape](), store=postgres, commit=mode, thread_id="ours")
        alone = StockChat(SHAPES[shape](), official, "alone")
        for number, text in enumerate(["one", "two"]):
            await chat.say(text, f"event-{number}")
            await alone.say(text, f"event-{number}")
        there = StockChat(SHAPES[shape](), official, "ours")
        for stock in (there, alone):
            await stock.say("three", "event-3")
        assert await there.spoken() == await alone.spoken()


async def test_a_question_asked_here_is_answered_there(postgres: PostgresStore, database_url: str) -> None:
    async with official_saver(database_url) as official:
        for mode in MODES:
            chat = Chat(question(), store=postgres, commit=mode, thread_id=f"ours-{mode.value}")
            asked = (await chat.say("shall I?")).questions
            there = StockChat(question(), official, chat.key.thread_id)
            assert [one.id for one in (await there.snapshot()).interrupts] == [one.interrupt_id for one in asked]
            await there.respond("yes")
            spoken = [text for _, text in await there.spoken()]
            assert spoken == ["shall I?", "you decided yes", "meanwhile", "answer saw 3"]


async def test_a_question_asked_there_is_answered_here(postgres: PostgresStore, database_url: str) -> None:
    async with official_saver(database_url) as official:
        stock = StockChat(question(), official, "theirs")
        await stock.say("shall I?", "event-0")
        (interrupt,) = (await stock.snapshot()).interrupts
        chat = Chat(question(), store=postgres, thread_id="theirs")
        answer = await chat.say(reply(interrupt.id, "yes"))
        assert answer.text == "you decided yes\n\nmeanwhile\n\nanswer saw 3"
        assert [text for _, text in await chat.spoken()] == [text for _, text in await stock.spoken()]


async def test_a_question_found_open_is_asked_again_and_not_answered_by_the_next_message(
    postgres: PostgresStore, database_url: str
) -> None:
    async with official_saver(database_url) as official:
        stock = StockChat(question(), official, "theirs")
        await stock.say("shall I?", "event-0")
        (interrupt,) = (await stock.snapshot()).interrupts
        chat = Chat(question(), store=postgres, thread_id="theirs")
        answer = await chat.say("hello")
        assert [one.interrupt_id for one in answer.questions] == [interrupt.id]
        assert answer.text == ""
        assert (await chat.say(reply(interrupt.id, "yes"))).text.startswith("you decided yes")


async def test_a_breakpoint_found_parked_is_not_passed_unasked(postgres: PostgresStore, database_url: str) -> None:
    ran: list[str] = []

    async def send(state: MessagesState) -> dict[str, Any]:
        ran.append("send")
        return {"messages": [AIMessage("sent")]}

    def guarded() -> Graph:
        return chain(("draft", model_node(lambda _: "a draft")), ("send", send), interrupt_before=["send"])

    async with official_saver(database_url) as official:
        await StockChat(guarded(), official, "theirs").say("write to her", "event-0")
        chat = Chat(guarded(), store=postgres, thread_id="theirs")
        (asked,) = (await chat.say("hello")).questions
        assert ran == []
        await chat.say(reply(asked.interrupt_id, True))
        assert ran == ["send"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_that_crashed_there_is_finished_before_the_next_message(
    mode: CommitMode, postgres: PostgresStore, database_url: str
) -> None:
    dies = [True]

    async def work(state: MessagesState) -> dict[str, Any]:
        if dies.pop() if dies else False:
            raise Crash
        return {"messages": [AIMessage(f"worked on {len(state['messages'])}")]}

    def graph() -> Graph:
        return chain(("plan", model_node(lambda messages: f"plan {len(messages)}")), ("work", work))

    async with official_saver(database_url) as official:
        with pytest.raises(Crash):
            await StockChat(graph(), official, "theirs").say("one", "event-0")
        chat = Chat(graph(), store=postgres, commit=mode, thread_id="theirs")
        answer = await chat.say("two")
        assert answer.text == chat.seen.stream.text == "worked on 2\n\nplan 4\n\nworked on 5"
        assert [text for _, text in await chat.spoken()] == [
            "one",
            "plan 1",
            "worked on 2",
            "two",
            "plan 4",
            "worked on 5",
        ]


async def test_a_crash_while_finishing_their_run_does_not_take_it_for_the_message(
    postgres: PostgresStore, database_url: str
) -> None:
    dies_in = ["work"]

    def node(name: str) -> Any:
        async def run(state: MessagesState) -> dict[str, Any]:
            if dies_in == [name]:
                dies_in.clear()
                raise Crash
            return {"messages": [AIMessage(f"{name} {len(state['messages'])}")]}

        return run

    def graph() -> Graph:
        return chain(*[(name, node(name)) for name in ("plan", "work", "check", "report")])

    async with official_saver(database_url) as official:
        with pytest.raises(Crash):
            await StockChat(graph(), official, "theirs").say("one", "event-0")
        chat = Chat(graph(), store=postgres, thread_id="theirs")
        dies_in.append("report")
        with pytest.raises(Crash):
            await chat.say("two")
        await chat.run(await chat.reclaim())
        spoken = [text for _, text in await chat.spoken()]
        assert spoken[:6] == ["one", "plan 1", "work 2", "check 3", "report 4", "two"]
        assert spoken[6:] == ["plan 6", "work 7", "check 8", "report 9"]
