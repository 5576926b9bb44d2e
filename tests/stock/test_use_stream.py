"""LangGraph's `useStream` in a real browser: over the Agent Streaming Protocol, and over the classic REST."""

from __future__ import annotations

import urllib.request

import pytest
from playwright.sync_api import Page, expect

from tests.stock.cases import new_key
from tests.stock.stage import Stage
from tests.stock.use_stream import Tab

WHOLE = "word0 word1 word2 word3 word4 word5 word6 word7 word8 word9"
WAYS = pytest.mark.parametrize("way", [{}, {"classic": "1"}], ids=["protocol", "classic"])
ALL_WAYS = pytest.mark.parametrize(
    "way", [{}, {"websocket": "1"}, {"classic": "1"}], ids=["protocol", "websocket", "classic"]
)


def _ask(stage: Stage, path: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(stage.control + path, method="POST"), timeout=200):
        pass


@ALL_WAYS
def test_an_answer_streams_and_is_there_after_a_reload(page: Page, stage: Stage, way: dict[str, str]) -> None:
    key, tab = new_key(), Tab(page, stage.url)
    tab.open(**way)
    tab.say(f"hold {key}")
    expect(tab.messages()).to_contain_text("word4")
    expect(tab.messages()).not_to_contain_text("word5")
    _ask(stage, f"/release/{key}")
    expect(tab.messages()).to_have_text(WHOLE)
    tab.at_rest()
    page.reload()
    expect(tab.messages()).to_have_text(WHOLE)
    expect(tab.messages("human")).to_have_count(1)


@WAYS
def test_a_second_message_is_answered_once(page: Page, stage: Stage, way: dict[str, str]) -> None:
    tab = Tab(page, stage.url)
    tab.open(**way)
    for number, word in enumerate(["one", "two"], start=1):
        tab.say(word)
        expect(tab.messages().nth(number - 1)).to_have_text(f"You said: {word}")
        tab.at_rest()
    expect(tab.messages()).to_have_count(2)
    expect(tab.messages("human")).to_have_text(["one", "two"])


@WAYS
def test_a_question_is_answered_after_a_reload(page: Page, stage: Stage, way: dict[str, str]) -> None:
    tab = Tab(page, stage.url)
    tab.open(assistant="ask", **way)
    tab.say("go")
    button = page.get_by_role("button", name="Yes")
    expect(button).to_contain_text("Shall I go on?")
    page.reload()
    button.click()
    expect(tab.messages()).to_have_text("You answered 'yes'.")


@WAYS
def test_a_tool_is_called(page: Page, stage: Stage, way: dict[str, str]) -> None:
    tab = Tab(page, stage.url)
    tab.open(assistant="agent", **way)
    tab.say("weather please")
    expect(tab.messages()).to_have_text("The tool said: sunny in Paris.")
    expect(tab.messages("tool")).to_have_text("sunny in Paris")
    tab.at_rest()
    expect(tab.messages("call")).to_have_text(["get_weather"])


@pytest.mark.slow
@ALL_WAYS
def test_a_kill_in_mid_answer_leaves_one_answer(page: Page, own_stage: Stage, way: dict[str, str]) -> None:
    key, tab = new_key(), Tab(page, own_stage.url)
    tab.open(**way)
    tab.say("first")
    expect(tab.messages()).to_have_text("You said: first")
    tab.at_rest()
    tab.say(f"hold {key}")
    expect(tab.messages().nth(1)).to_contain_text("word4")
    _ask(own_stage, "/restart")
    _ask(own_stage, f"/release/{key}")
    expect(tab.messages().nth(1)).to_have_text(WHOLE)
    tab.at_rest()
    expect(tab.messages()).to_have_count(2)
    expect(tab.messages("human")).to_have_count(2)
