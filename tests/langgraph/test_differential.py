"""The same conversation through the official saver and through ours leaves the same state, but for ids."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from tests.langgraph.driving import Chat, reply
from tests.langgraph.normal import normal_thread
from tests.langgraph.shapes import SHAPES
from tests.langgraph.stock import StockChat, official_saver
from unbroken.adapters.langgraph.write_through import WriteThroughSaver
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.policy import CommitMode

pytestmark = pytest.mark.asyncio

CONVERSATION = ["hello", "are you sure?", "and now", "good bye"]


async def ours(chat: Chat) -> None:
    for number, text in enumerate(CONVERSATION):
        answer = await chat.say(text, f"event-{number}")
        for question in answer.questions:
            await chat.say(reply(question.interrupt_id, "yes"), f"response-{number}")


async def theirs(stock: StockChat) -> None:
    for number, text in enumerate(CONVERSATION):
        await stock.say(text, f"event-{number}")
        if (await stock.snapshot()).interrupts:
            await stock.respond("yes")


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_turn_leaves_exactly_what_the_official_saver_leaves_at_exit(shape: str) -> None:
    """A DeltaChannel needs the chain of writes, so there it is what durability="sync" leaves."""
    chat = Chat(SHAPES[shape](), commit=CommitMode.TURN, thread_id="ours")
    await ours(chat)
    stock_saver = InMemorySaver()
    await theirs(StockChat(SHAPES[shape](), stock_saver, "theirs", durability="sync" if shape == "delta" else "exit"))
    mine = await normal_thread(WriteThroughSaver(chat.store.checkpoints, chat.store.checkpoint_upkeep), "ours")
    assert mine == await normal_thread(stock_saver, "theirs")


@pytest.mark.parametrize("shape", SHAPES)
async def test_in_the_official_tables_the_official_saver_reads_ours_as_its_own(shape: str, database_url: str) -> None:
    async with open_postgres(database_url, pool_size=2) as store, official_saver(database_url) as official:
        await ours(Chat(SHAPES[shape](), store=store, commit=CommitMode.TURN, thread_id="ours"))
        await theirs(StockChat(SHAPES[shape](), official, "theirs", durability="sync" if shape == "delta" else "exit"))
        assert await normal_thread(official, "ours") == await normal_thread(official, "theirs")


@pytest.mark.parametrize("mode", list(CommitMode))
@pytest.mark.parametrize("shape", SHAPES)
async def test_both_commit_modes_come_to_the_official_savers_values(shape: str, mode: CommitMode) -> None:
    chat = Chat(SHAPES[shape](), commit=mode)
    await ours(chat)
    stock = StockChat(SHAPES[shape](), InMemorySaver(), "theirs")
    await theirs(stock)
    values = (await stock.snapshot()).values
    mine = await chat.values()
    assert await chat.spoken() == await stock.spoken()
    assert {key: value for key, value in mine.items() if key != "messages"} == {
        key: value for key, value in values.items() if key != "messages"
    }
