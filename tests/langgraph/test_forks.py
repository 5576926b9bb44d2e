"""A message that replaces an earlier one: the conversation goes on from before it, and the old branch stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import id as langgraph_ids
from langgraph.graph import START, MessagesState, StateGraph

from tests.checker.model_rules import violations
from tests.langgraph.driving import Chat, Store, end_of, reply
from tests.langgraph.shapes import subgraphs
from tests.langgraph.stages import PLACES, Builder, Stage, loop, tool_node, using
from unbroken.adapters.langgraph.checkpoint_ids import ticks
from unbroken.domain.checkpoints import ROOT, StateChange
from unbroken.domain.errors import BranchGone
from unbroken.domain.events import UserMessage
from unbroken.domain.policy import CommitMode
from unbroken.domain.turn import Fork, TurnChange

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("mode", list(CommitMode))]


@dataclass
class Scene:
    chat: Chat
    stage: Stage

    async def replacing(self, event_id: str, text: str = "instead") -> Any:
        return await self.chat.accept(UserMessage(text, replaces=self.chat.requests[event_id]))

    async def texts(self) -> list[str]:
        return [text for kind, text in await self.chat.spoken() if kind == "human"]


def scene(store: Store, mode: CommitMode) -> Scene:
    stage = Stage(stops=0)
    return Scene(Chat(PLACES["after_a_tool"](stage), store=store, commit=mode), stage)


async def test_a_message_that_replaces_another_goes_on_from_before_it(mode: CommitMode, store: Store) -> None:
    here = scene(store, mode)
    for number in range(3):
        await here.chat.say(f"message {number}", f"event-{number}")
    old = await here.chat.messages()
    old_head = (await store.checkpoints.load(here.chat.key.thread_id, ROOT, None)).row.checkpoint_id  # type: ignore[union-attr]
    await here.chat.run(await here.replacing("event-1"))
    assert await here.texts() == ["message 0", "instead"]
    assert await here.chat.messages() != old
    kept = await store.checkpoints.load(here.chat.key.thread_id, ROOT, old_head)
    assert kept is not None, "the old branch is gone"
    new_head = (await store.checkpoints.load(here.chat.key.thread_id, ROOT, None)).row.checkpoint_id  # type: ignore[union-attr]
    assert new_head > old_head, "who looks by the highest id sees the old branch"
    await here.chat.say("and on")
    assert await here.texts() == ["message 0", "instead", "and on"]
    assert violations(await here.chat.messages()) == []


async def test_the_first_message_can_be_replaced_too(mode: CommitMode, store: Store) -> None:
    here = scene(store, mode)
    await here.chat.say("first", "event-0")
    await here.chat.run(await here.replacing("event-0"))
    assert await here.texts() == ["instead"]


async def test_a_crash_on_the_new_branch_goes_on_there(mode: CommitMode, store: Store) -> None:
    here = scene(store, mode)
    for number in range(2):
        await here.chat.say(f"message {number}", f"event-{number}")
    claim = await here.replacing("event-1")
    await here.chat.agent.run(await here.chat.begun(claim))  # dies before its finishing commit
    await here.chat.run(await here.chat.reclaim())
    assert await here.texts() == ["message 0", "instead"]
    assert violations(await here.chat.messages()) == []


@pytest.mark.parametrize("reason", ["cancelled", "failed"])
@pytest.mark.parametrize("place", ["speaking", "in_a_tool", "in_the_last_node"])
async def test_a_turn_that_ends_on_the_new_branch_is_settled_there(
    mode: CommitMode, reason: str, place: str, store: Store
) -> None:
    stage = Stage(stops=0, fails=reason == "failed")
    here = Scene(Chat(PLACES[place](stage), store=store, commit=mode), stage)
    for number in range(2):
        await here.chat.say(f"message {number}", f"event-{number}")
    stage.stops = 1
    claim = await here.replacing("event-1")
    await (here.chat.fail(claim) if reason == "failed" else here.chat.stop(claim, stage.reached))
    assert await here.texts() == ["message 0", "instead"]
    await here.chat.say("again")
    assert await here.texts() == ["message 0", "instead", "again"]
    assert violations(await here.chat.messages()) == []


async def test_a_question_asked_on_the_old_branch_is_not_answered_on_the_new_one(
    mode: CommitMode, store: Store
) -> None:
    stage = Stage(stops=0)
    chat = Chat(loop(stage, using("ask"), tool_node(stage)).compile(), store=store, commit=mode)
    here = Scene(chat, stage)
    (old,) = (await chat.say("go", "event-0")).questions
    (new,) = (await chat.run(await here.replacing("event-0"))).questions
    assert new.interrupt_id != old.interrupt_id
    assert (await chat.say(reply(new.interrupt_id, "yes"))).text == "All done."


async def test_a_subgraph_that_remembers_forgets_what_it_did_on_the_old_branch(mode: CommitMode, store: Store) -> None:
    chat = Chat(subgraphs(), store=store, commit=mode)
    here = Scene(chat, Stage())
    assert "remembered 1" in (await chat.say("one", "event-0")).text
    assert "remembered 2" in (await chat.say("two", "event-1")).text
    assert "remembered 2" in (await chat.run(await here.replacing("event-1"))).text


async def test_a_subgraph_that_the_new_branch_does_not_call_goes_back_too(mode: CommitMode, store: Store) -> None:
    whole = subgraphs()
    builder: Builder = StateGraph(MessagesState)
    builder.add_node("remember", whole.builder.nodes["remember"].runnable)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("well")]})
    builder.add_conditional_edges(START, lambda state: str(state["messages"][-1].content), ["remember", "answer"])
    chat = Chat(builder.compile(), store=store, commit=mode)
    here = Scene(chat, Stage())
    for number in range(2):
        assert (await chat.say("remember", f"event-{number}")).text == f"remembered {number + 1}"
    assert (await chat.run(await here.replacing("event-1", "answer"))).text == "well"
    assert (await chat.say("remember")).text == "remembered 2"


async def test_the_new_branch_sorts_after_one_that_a_fast_clock_wrote(
    mode: CommitMode, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = scene(store, mode)
    await here.chat.say("message 0", "event-0")
    monkeypatch.setattr(langgraph_ids, "_last_v6_timestamp", (ticks(str(langgraph_ids.uuid6())) or 0) + 36_000_000_000)
    await here.chat.say("message 1", "event-1")
    monkeypatch.setattr(langgraph_ids, "_last_v6_timestamp", None)
    old = await store.checkpoints.load(here.chat.key.thread_id, ROOT, None)
    await here.chat.run(await here.replacing("event-1"))
    new = await store.checkpoints.load(here.chat.key.thread_id, ROOT, None)
    assert old is not None
    assert new is not None
    assert new.row.checkpoint_id > old.row.checkpoint_id


async def test_a_branch_whose_checkpoint_is_gone_is_told(mode: CommitMode, store: Store) -> None:
    here = scene(store, mode)
    await here.chat.say("first", "event-0")
    claim = await here.chat.accept("second")
    attempt = here.chat.attempt(claim)
    attempt.fork = Fork(((ROOT, "00000000-0000-6000-8000-000000000000"),))
    with pytest.raises(BranchGone):
        await here.chat.agent.run(attempt)
    assert attempt.supersteps == []
    await store.unit_of_work.commit(TurnChange(claim, StateChange(), True, end_of(claim), reverts=True))
    await here.chat.say("third")
    assert await here.texts() == ["first", "third"]
