"""What an agent asks, as forms; and what became of it, in every tab."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.tab import Tab
from tests.end_to_end.server import Server


def asked(tab: Tab, value: Any) -> Locator:
    tab.say(f"ask {json.dumps(value)}")
    question = tab.page.get_by_role("region", name="Question")
    expect(question).to_be_visible()
    return question


def test_a_choice_is_made_with_one_press_and_seen_in_every_tab(tab: Tab) -> None:
    question = asked(tab, {"question": "Which tea?", "options": ["green", {"label": "Black tea", "value": "black"}]})
    other = tab.another()
    question.get_by_role("button", name="Black tea").click()
    assert tab.ended(2) == 'You answered: "black"'
    for each in (tab, other):
        closed = each.page.get_by_role("region", name="Question")
        expect(closed).to_contain_text("Answered")
        expect(each.turn(2).get_by_label("You answered")).to_have_text("Black tea")
        expect(closed.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize(("pressed", "given"), [("Yes", "true"), ("No", "false")])
def test_yes_and_no_are_true_and_false(tab: Tab, pressed: str, given: str) -> None:
    asked(tab, {"question": "Sure?", "type": "boolean"}).get_by_role("button", name=pressed).click()
    assert tab.ended(2) == f"You answered: {given}"


def test_a_question_in_words_is_answered_in_words(tab: Tab) -> None:
    question = asked(tab, "What is your name?")
    question.get_by_label("Your answer").fill("Ada")
    question.get_by_label("Your answer").press("Enter")
    assert tab.ended(2) == 'You answered: "Ada"'
    expect(question).to_contain_text("Ada")


def test_several_choices_are_made_at_once(tab: Tab) -> None:
    question = asked(tab, {"question": "What?", "choices": ["milk", "sugar", "lemon"], "multiple": True})
    question.get_by_label("milk").check()
    question.get_by_label("lemon").check()
    question.get_by_role("button", name="Answer").click()
    assert tab.ended(2) == 'You answered: ["milk", "lemon"]'


def test_a_question_of_no_known_shape_is_shown_and_answered_as_json(tab: Tab) -> None:
    question = asked(tab, {"weights": [1, 2]})
    expect(question).to_contain_text('"weights"')
    question.get_by_label("Your answer, as text or JSON").fill('{"ok": [1]}')
    question.get_by_role("button", name="Answer").click()
    assert tab.ended(2) == 'You answered: {"ok": [1]}'


def test_a_tool_call_is_approved_or_rejected_with_a_reason(tab: Tab) -> None:
    question = asked(tab, {"action_requests": [{"name": "pay", "args": {"sum": 7}}], "review_configs": []})
    expect(question.locator("pre")).to_contain_text('"sum": 7')
    question.get_by_label("Why not pay").fill("too dear")
    question.get_by_role("button", name="Reject").click()
    expect(tab.answer(2)).to_contain_text('{"decisions": [{"type": "reject", "message": "too dear"}]}')


def test_an_answer_that_failed_leaves_its_question_to_be_answered_in_another_way(tab: Tab) -> None:
    question = asked(tab, {"question": "Which?", "options": ["stumble", "stand"]})
    question.get_by_role("button", name="stumble").click()
    expect(tab.turn(2)).to_contain_text("could not answer")
    expect(question.get_by_role("button", name="stand")).to_be_visible()
    tab.page.reload()
    question.get_by_role("button", name="stand").click()
    assert tab.ended(3) == 'You answered: "stand"'
    expect(question).to_contain_text("Answered")


def test_a_message_instead_of_an_answer_closes_the_question(tab: Tab) -> None:
    question = asked(tab, "Sure?")
    tab.say("let us talk of something else")
    tab.ended(2)
    expect(question).to_contain_text("No longer asked")
    expect(question.get_by_label("Your answer")).to_have_count(0)


def test_the_bundled_agent_asks_and_the_answer_may_come_days_later(page: Page, server: Server, thread: str) -> None:
    tab = Tab(page, server, thread, agent="bundled")
    tab.open()
    tab.say("ask me something")
    question = page.get_by_role("region", name="Question")
    expect(question).to_contain_text("long journey")
    page.reload()
    question.get_by_role("button", name="A good book").click()
    assert tab.ended(2) == "A good book: I will remember that."
