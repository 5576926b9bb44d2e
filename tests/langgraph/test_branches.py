"""A turn on a branch that another one has left says its own words, however it ends, and none of that branch's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState

from tests.langgraph.driving import Chat, Crash, Store
from tests.langgraph.scripted import chain
from unbroken.domain.events import EventBody, RunStart, UserMessage
from unbroken.domain.session import Claim

pytestmark = pytest.mark.asyncio


class Speaker:
    """Answers with two messages, and is in trouble between them where it is asked for."""

    def __init__(self) -> None:
        self.silent = False
        self.dies = False
        self.waits = False
        self.waiting = asyncio.Event()

    def graph(self) -> Any:
        return chain(("first", self._first), ("second", self._second), state=MessagesState)

    async def _first(self, state: MessagesState) -> dict[str, Any]:
        if self.silent:
            return {}
        return {"messages": [AIMessage(f"first on {state['messages'][-1].content}")]}

    async def _second(self, state: MessagesState) -> dict[str, Any]:
        if self.dies:
            self.dies = False
            raise Crash
        if self.waits:
            self.waiting.set()
            await asyncio.Event().wait()
        return {"messages": [AIMessage("and second")]}


def a_run(checkpoint_id: str) -> EventBody:
    return RunStart({"messages": [{"type": "human", "content": "C"}]}, checkpoint_id=checkpoint_id)


async def head_of(chat: Chat) -> str:
    head = await chat.store.checkpoints.load(chat.key.thread_id, "", None)
    assert head is not None
    return head.row.checkpoint_id


async def on_the_branch_that_was_left(chat: Chat, *, run: bool) -> Claim:
    """C in the place of the third thing said, which stands behind B; the head has been behind A and D since."""
    await chat.say("A")
    behind_a = await head_of(chat)
    await chat.say("B")
    behind_b = await head_of(chat)
    replaced = await chat.accept("to be replaced")
    await chat.run(replaced)
    await chat.say(RunStart({"messages": [{"type": "human", "content": "D"}]}, checkpoint_id=behind_a))
    body = a_run(behind_b) if run else UserMessage("C", chat.requests[replaced.event.id])
    return await chat.accept(body)


SAID = ["A", "first on A", "and second", "B", "first on B", "and second", "C", "first on C"]
BOTH = pytest.mark.parametrize("run", [True, False], ids=["run", "message"])


@BOTH
async def test_a_crash_does_not_make_old_answers_new(store: Store, *, run: bool) -> None:
    speaker = Speaker()
    chat = Chat(speaker.graph(), store=store)
    claim = await on_the_branch_that_was_left(chat, run=run)
    speaker.dies = True
    with pytest.raises(Crash):
        await chat.run(claim)
    answer = await chat.run(await chat.reclaim())
    assert [text for _, text in chat.seen.begun_with] == ["first on C"]
    assert answer.text == "first on C\n\nand second"
    assert [message["content"] for message in answer.content] == ["C", "first on C", "and second"][
        -len(answer.content) :
    ]
    assert [text for _, text in await chat.spoken()] == [*SAID, "and second"]


@BOTH
async def test_a_stop_shows_nothing_of_a_turn_that_said_nothing(store: Store, *, run: bool) -> None:
    speaker = Speaker()
    chat = Chat(speaker.graph(), store=store)
    claim = await on_the_branch_that_was_left(chat, run=run)
    speaker.silent = speaker.waits = True
    settled = await chat.stop(claim, speaker.waiting)
    assert settled.text == ""
    assert [text for _, text in await chat.spoken()] == SAID[:-1]


@BOTH
async def test_a_stop_after_a_crash_shows_what_this_turn_has_said(store: Store, *, run: bool) -> None:
    speaker = Speaker()
    chat = Chat(speaker.graph(), store=store)
    claim = await on_the_branch_that_was_left(chat, run=run)
    speaker.dies = speaker.waits = True
    with pytest.raises(Crash):
        await chat.run(claim)
    settled = await chat.stop(await chat.reclaim(), speaker.waiting)
    assert settled.text == "first on C"
    assert [text for _, text in await chat.spoken()] == SAID
