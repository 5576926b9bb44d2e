"""Where a conversation goes on when a message is replaced: every head as it stood before the first of its place."""

from __future__ import annotations

import pytest

from tests.contracts.conversation import Conversation, checkpoint_id, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.events import UserMessage
from unbroken.domain.turn import Fork

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def turn(talk: Conversation, request_id: str, *states: StateChange, replaces: str | None = None) -> None:
    claim = await talk.accepted(talk.new(UserMessage(request_id, replaces), request_id=request_id))
    *supersteps, last = states or (StateChange(),)
    for state in supersteps:
        await talk.superstep(claim, state)
    await talk.finish(claim, state=last)


async def before(talk: Conversation, request_id: str) -> Fork | None:
    return await talk.store.sessions.before(talk.thread_id, request_id)


async def test_each_message_has_its_place_however_many_supersteps_it_took(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await turn(talk, "one", state_at(1))
    await turn(talk, "two", state_at(2, parent=1), state_at(3, parent=2))
    await turn(talk, "three", state_at(4, parent=3))
    assert await before(talk, "one") == Fork((("", ""),))
    assert await before(talk, "two") == Fork((("", checkpoint_id(1)),))
    assert await before(talk, "three") == Fork((("", checkpoint_id(3)),))


async def test_a_replacement_stands_where_the_first_stood(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await turn(talk, "one", state_at(1))
    await turn(talk, "two", state_at(2, parent=1))
    await turn(talk, "TWO", state_at(3, parent=1), replaces="two")
    await turn(talk, "Two", state_at(4, parent=1), replaces="TWO")
    for name in ("two", "TWO", "Two"):
        assert await before(talk, name) == Fork((("", checkpoint_id(1)),))


async def test_the_heads_of_subgraphs_go_back_with_the_root(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await turn(talk, "one", state_at(1, ns="sub"), state_at(2))
    await turn(talk, "two", state_at(3, ns="sub", parent=1), state_at(4, parent=2))
    assert await before(talk, "two") == Fork((("", checkpoint_id(2)), ("sub", checkpoint_id(1))))
    assert await before(talk, "one") == Fork((("", ""), ("sub", "")))


async def test_a_message_that_left_nothing_has_a_place_too(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await turn(talk, "one", state_at(1))
    claim = await talk.accepted(talk.new(UserMessage("two"), request_id="two"))
    await talk.superstep(claim, state_at(2, parent=1))
    await talk.finish(claim, reverts=True)
    assert await before(talk, "two") == Fork((("", checkpoint_id(1)),))


async def test_what_is_unknown_or_not_ended_has_no_place(store: Subject) -> None:
    talk = await Conversation.begin(store)
    assert await before(talk, "one") is None
    await talk.accepted(talk.new(request_id="one"))
    assert await before(talk, "one") is None
    assert await before(talk, "two") is None


async def test_a_message_that_replaces_what_does_not_exist_stands_for_itself(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await turn(talk, "one", state_at(1))
    await turn(talk, "two", state_at(2, parent=1), replaces="nobody")
    assert await before(talk, "two") == Fork((("", checkpoint_id(1)),))
