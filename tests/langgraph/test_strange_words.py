"""Words of an agent that no store takes, U+0000 and half surrogate pairs: they cost nothing but themselves, however
they come to be part of an event's end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import interrupt

from tests.langgraph.driving import Chat, Store
from tests.langgraph.scripted import chain
from tests.langgraph.whole_turns import Whole
from unbroken.adapters.langgraph.effects import Effects, schedule_timer
from unbroken.domain.effects import ReportFailure, RequestInput, ScheduleTimer, SendMessage

NUL = "a \x00 byte"
HALF = "a \x00 byte, \ud800 half"
TOLD = "a \ufffd byte"
TOLD_HALF = "a \ufffd byte, \ufffd half"

pytestmark = pytest.mark.asyncio


class Timed(MessagesState):
    effects: Effects


class Counting:
    """A node that says something, or raises."""

    def __init__(self, does: Callable[[], dict[str, Any]]) -> None:
        self.runs = 0
        self._does = does

    async def __call__(self, state: Any) -> dict[str, Any]:
        self.runs += 1
        return self._does()


def failing() -> dict[str, Any]:
    raise ValueError(HALF)


def saying(text: str, message_id: str = "") -> dict[str, Any]:
    return {"messages": [AIMessage(text, id=message_id or uuid4().hex)]}


@pytest.mark.parametrize("shown", [False, True])
async def test_an_exception_is_told_in_its_own_words_and_its_node_runs_once(
    store: Store, shown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "unbroken.application.turn_end")  # a test's report is sent as UTF-8
    node = Counting(failing)
    first = [("speak", Counting(lambda: saying("so far")))] if shown else []
    chat = Whole(Chat(chain(*first, ("fail", node)), store=store))
    (entry,) = await chat.say()
    assert entry.body == ReportFailure("model_failed", f"ValueError: {TOLD_HALF}", 1)
    assert node.runs == 1
    assert [text for _, text in await chat.chat.spoken()] == (["hello", "so far"] if shown else [])


async def test_a_question_is_asked_of_whatever_words(store: Store) -> None:
    chat = Whole(Chat(chain(("ask", Counting(lambda: interrupt({"q": [NUL], NUL: 1})))), store=store))
    *_, asked = await chat.say()
    assert isinstance(asked.body, RequestInput)
    assert asked.body.value == {"q": [TOLD], TOLD: 1}


async def test_a_message_is_streamed_under_the_name_that_its_end_gives_it(store: Store) -> None:
    call = {"id": NUL, "name": NUL, "args": {NUL: HALF}}
    said = AIMessage("so far", id=HALF, name=NUL, tool_calls=[call])
    chat = Chat(chain(("speak", Counting(lambda: {"messages": [said]})), ("end", Counting(dict))), store=store)
    (message,) = (await chat.say("hello")).content
    assert chat.seen.stream.messages == ((TOLD_HALF, "so far"),)
    assert (message["id"], message["name"]) == (TOLD_HALF, TOLD)
    assert message["tool_calls"] == [{"id": TOLD, "name": TOLD, "args": {TOLD: TOLD_HALF}}]


async def test_a_timer_is_set_of_whatever_name_it_and_its_node_are(store: Store) -> None:
    node = Counting(lambda: {**saying("ok"), "effects": [schedule_timer(0, {NUL: NUL}, timer_id=NUL)]})
    graph = StateGraph(Timed).add_node(NUL, node).set_entry_point(NUL).compile()
    (entry,) = await Whole(Chat(graph, store=store)).say()
    assert isinstance(entry.body, SendMessage)
    (owed,) = await store.outbox.claim(replica=1, limit=10, until_s=60.0)
    assert owed.body == ScheduleTimer(0.0, {TOLD: TOLD}, TOLD)
    assert owed.dedupe_key == f"{entry.event.id}/{TOLD}/0/0/schedule_timer"
