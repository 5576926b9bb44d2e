"""The agent that needs no key: a real graph, honest about being scripted."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from tests.langgraph.driving import Chat, Store
from unbroken.adapters.langgraph import demo_agent
from unbroken.adapters.langgraph.demo_agent import demo_graph
from unbroken.domain.effects import ScheduleTimer
from unbroken.domain.events import InputResponse, TimerFired
from unbroken.domain.policy import question_id

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_agent.MODEL, "pause_s", 0.0)


async def test_it_says_that_it_is_scripted_and_streams_word_by_word(store: Store) -> None:
    chat = Chat(demo_graph(), store=store)
    answer = await chat.say("hello there")
    assert "scripted demo" in answer.text
    assert "'hello there'" in answer.text
    assert chat.seen.stream.text == answer.text
    assert len(chat.seen.chunks) == len(answer.text.split())


async def test_it_calls_a_tool(store: Store) -> None:
    chat = Chat(demo_graph(), store=store)
    answer = await chat.say("count: one two three")
    assert answer.text == chat.seen.stream.text == "Let me count.\n\nThe tool counted 3 words."
    assert [(step.name, step.phase) for step in chat.seen.tools] == [
        ("count_words", "started"),
        ("count_words", "finished"),
    ]
    assert len(chat.seen.supersteps) == 2


async def test_it_asks_and_answers_to_what_it_was_told(store: Store) -> None:
    chat = Chat(demo_graph(), store=store)
    asking = await chat.say("please ask me something")
    (question,) = asking.questions
    assert question.value["options"][1] == "A map"
    answer = await chat.say(InputResponse(question_id(question.interrupt_id, 1), "A map"))
    assert answer.text == "A map: I will remember that."
    assert answer.questions == ()
    assert (await chat.say("hello")).questions == ()


async def test_it_takes_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_agent.MODEL, "slow_pause_s", 0.01)
    chat = Chat(demo_graph())
    began = time.monotonic()
    answer = await chat.say("please be slow 0.3")
    assert 0.25 < time.monotonic() - began < 5
    assert len(chat.seen.chunks) == 30
    assert chat.seen.stream.text == answer.text


async def test_it_sets_a_timer_and_reminds_when_it_fires() -> None:
    chat = Chat(demo_graph())
    (effect,) = (await chat.say("remind me in 5 s")).effects
    assert effect.body == ScheduleTimer(5.0, "remind me in 5 s", "reminder")
    assert (await chat.say("remind me in 2 minutes")).effects[0].body.after_s == 120.0
    claim = await chat.accept("stands for the timer")
    fired = replace(claim.event, body=TimerFired("reminder", 1, "remind me in 5 s"))
    answer = await chat.run(replace(claim, event=fired))
    assert answer.text == "You asked me to remind you: remind me in 5 s."
    assert answer.effects == ()
