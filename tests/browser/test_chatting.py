"""Saying something, reading the answer, and changing one's mind."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.browser.tab import Tab, final, user
from tests.end_to_end.server import Server

MARKDOWN = """say ## A plan

First **this**, then `that`.

- one
- two

```python
print("hello")
```

| what | how |
|---|---|
| tea | hot |

[more](https://example.org)"""


def test_what_is_typed_is_answered_with_nothing_from_elsewhere(page: Page, server: Server, thread: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    tab = Tab(page, server, thread)
    tab.open()
    tab.say("hello")
    expect(tab.said()).to_have_text("hello")
    assert tab.ended() == "You said: hello"
    tab.say("say ```py\nx = 1\n```")
    expect(tab.answer(2).locator(".hljs-number")).to_have_text("1")
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {f"127.0.0.1:{server.port}"}


def test_an_answer_is_set_like_a_document(tab: Tab) -> None:
    tab.say(MARKDOWN)
    tab.ended()
    answer = tab.answer()
    expect(answer.get_by_role("heading", name="A plan", level=3)).to_be_visible()
    expect(answer.locator("strong")).to_have_text("this")
    expect(answer.get_by_role("listitem")).to_have_text(["one", "two"])
    expect(answer.get_by_role("cell")).to_have_text(["tea", "hot"])
    expect(answer.locator("figcaption")).to_contain_text("python")
    expect(answer.locator(".hljs-string")).to_have_text('"hello"')
    expect(answer.get_by_role("link", name="more")).to_have_attribute("rel", "noopener noreferrer")


def test_code_and_answers_are_copied_as_they_were_written(tab: Tab) -> None:
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.say(MARKDOWN)
    tab.ended()
    tab.button("Copy code").click()
    expect(tab.button("Copied")).to_be_visible()
    assert tab.page.evaluate("navigator.clipboard.readText()") == 'print("hello")'
    tab.button("Copy answer").click()
    expect(tab.button("Copied")).to_have_count(2)
    assert tab.page.evaluate("navigator.clipboard.readText()") == MARKDOWN.removeprefix("say ")


def test_markup_from_outside_stays_text(page: Page, server: Server, thread: str) -> None:
    tab = Tab(page, server, thread)
    markup = "<b>bold</b><img src=x onerror='throw 1'>"
    tool = {"type": "tool", "requestId": "r", "attempt": 1, "offset": 0, "toolCallId": "c", "name": markup}
    question = {"type": "question", "requestId": "q", "cursor": 2, "interruptId": "i", "value": markup}
    tab.hear(
        user("q", 1, markup) | {"content": [{"type": "file", "file_id": markup, "extras": {"name": markup}}]},
        final("q", 1, markup),
        question,
        user("r", 2, markup),
        {"type": "reset", "requestId": "r", "attempt": 3, "reason": "started"},
        tool | {"attempt": 3, "phase": "started", "data": markup},
        {"type": "token", "requestId": "r", "value": markup, "attempt": 3, "offset": 0, "messageId": "m"},
        {"type": "error", "code": "later", "message": markup, "retryable": True},
        {"type": "error", "code": "later", "message": markup, "retryable": False, "requestId": "r", "cursor": 3},
    )
    tab.open()
    expect(tab.state(2)).to_have_text(markup)
    expect(tab.said(2)).to_have_text(markup)
    expect(tab.answer(1)).to_have_text(markup)
    expect(tab.answer(2)).to_contain_text(markup)
    expect(page.get_by_role("alert")).to_contain_text(markup)
    expect(page.locator(".question .prompt")).to_have_text(markup)
    assert page.locator("#app b, #app img").count() == 0


def test_an_answer_is_stopped_by_its_button_and_by_escape(tab: Tab) -> None:
    for number in (1, 2):
        tab.say("long 500")
        tab.begun(number, letters=10)
        if number == 1:
            tab.button("Stop").click()
        else:
            tab.box.press("Escape")
        shown = tab.ended(number, "cancelled")
        expect(tab.state(number)).to_have_text("Stopped")
        assert shown.startswith("1 2 3")
        assert " 500" not in shown
    expect(tab.button("Stop")).to_have_count(0)
    tab.say("go on")
    assert tab.ended(3) == "You said: go on"


def test_a_message_that_waits_can_be_called_off(tab: Tab) -> None:
    tab.say("long 60")
    tab.begun()
    tab.say("never mind")
    expect(tab.state(2)).to_have_text("Waiting for its turn")
    tab.button("Do not answer this").click()
    tab.ended(2, "cancelled")
    assert tab.ended(1).split()[-1] == "60"


def test_a_failed_answer_says_why_and_can_be_tried_again(tab: Tab) -> None:
    tab.say(f"stumble {tab.thread}")
    tab.ended(1, "failed")
    expect(tab.state()).to_have_text("The model could not answer.")
    tab.button("Try again").click()
    assert tab.ended() == f"You said: stumble {tab.thread}"
    expect(tab.turns).to_have_count(1)


def test_a_stopped_answer_can_be_tried_again(tab: Tab) -> None:
    tab.say("long 30")
    tab.begun(letters=10)
    tab.button("Stop").click()
    tab.ended(1, "cancelled")
    tab.button("Try again").click()
    assert tab.ended().split()[-1] == "30"
    expect(tab.turns).to_have_count(1)


def test_an_edited_message_takes_the_place_of_all_that_followed(tab: Tab) -> None:
    for number, text in enumerate(("one", "two", "three"), 1):
        tab.say(text)
        tab.ended(number)
    other = tab.another()
    tab.turn(2).hover()
    tab.turn(2).get_by_role("button", name="Edit message").click()
    editor = tab.page.get_by_label("Edit your message")
    expect(editor).to_be_focused()
    expect(editor).to_have_value("two")
    editor.fill("deux")
    editor.press("Enter")
    for each in (tab, other):
        expect(each.turns).to_have_count(2)
        assert each.ended(2) == "You said: deux"
    tab.turn(2).get_by_text("Edited").click()
    expect(tab.turn(2).locator(".version")).to_contain_text(re.compile("two.*You said: two", re.DOTALL))
    tab.say("recall")
    tab.ended(3)
    tab.page.reload()
    expect(tab.turns).to_have_count(3)
    texts = ["You said: one", "You said: deux", "I remember: one, deux, recall"]
    assert [tab.ended(number) for number in (1, 2, 3)] == texts


def test_after_an_edit_that_failed_the_agent_remembers_what_is_shown(tab: Tab) -> None:
    for number, text in enumerate(("one", "two"), 1):
        tab.say(text)
        tab.ended(number)
    tab.box.press("ArrowUp")
    tab.page.get_by_label("Edit your message").fill(f"stumble {tab.thread}")
    tab.page.keyboard.press("Enter")
    tab.ended(2, "failed")
    tab.say("recall")
    expect(tab.said(3)).to_have_text("recall")
    assert tab.ended(3) == "I remember: one, recall"
    expect(tab.turns).to_have_count(3)


def test_editing_can_be_left_without_a_trace(tab: Tab) -> None:
    tab.say("one")
    tab.ended()
    tab.box.press("ArrowUp")
    tab.page.get_by_label("Edit your message").fill("other")
    tab.page.keyboard.press("Escape")
    expect(tab.said()).to_have_text("one")
    expect(tab.box).to_be_focused()
    expect(tab.turns).to_have_count(1)


def test_an_answer_is_given_again_in_place_of_the_first(tab: Tab) -> None:
    tab.say("one")
    tab.ended()
    first = tab.turn().get_attribute("data-request-id")
    tab.button("Answer again").click()
    expect(tab.turn()).not_to_have_attribute("data-request-id", str(first))
    assert tab.ended() == "You said: one"
    tab.say("recall")
    assert tab.ended(2) == "I remember: one, recall"
    expect(tab.turns).to_have_count(2)


def test_editing_while_an_answer_runs_stops_it(tab: Tab) -> None:
    tab.say("long 500")
    tab.begun(letters=10)
    tab.box.press("ArrowUp")
    editor = tab.page.get_by_label("Edit your message")
    editor.fill("rather this")
    editor.press("Enter")
    assert tab.ended() == "You said: rather this"
    expect(tab.turns).to_have_count(1)


def test_tool_calls_unfold_while_they_work_and_for_whoever_comes_later(page: Page, server: Server, thread: str) -> None:
    tab = Tab(page, server, thread, agent="tool")
    tab.open()
    tab.say("weigh 7")
    tab.ended()
    for _ in range(2):
        tool = tab.turn().locator(".tool")
        expect(tool.locator("summary")).to_have_text(re.compile("weigh.*done"))
        expect(tool.get_by_role("heading", name="Arguments")).not_to_be_visible()
        tool.locator("summary").click()
        expect(tool.locator("pre").first).to_contain_text("7")
        page.reload()
        tab.ended()


def test_a_tool_that_still_works_says_so(page: Page, server: Server, thread: str) -> None:
    tab = Tab(page, server, thread)
    step = {"type": "tool", "requestId": "r", "attempt": 1, "offset": 4, "toolCallId": "c", "name": "search"}
    tab.hear(
        user("r", 1),
        {"type": "reset", "requestId": "r", "attempt": 1, "reason": "started"},
        {"type": "token", "requestId": "r", "value": "Wait", "attempt": 1, "offset": 0, "messageId": "m"},
        step | {"phase": "started", "data": '{"q": "tea"}'},
        step | {"phase": "finished", "namespace": ["errand:7f"], "name": "look"},
    )
    tab.open()
    expect(tab.turn().locator(".tool summary").first).to_have_text(re.compile("search.*running"))
    expect(tab.turn().locator(".tool summary").last).to_have_text(re.compile("look.*errand.*done"))
    tab.turn().locator(".tool summary").first.click()
    expect(tab.turn().locator(".tool pre").first).to_have_text('{\n  "q": "tea"\n}')
    expect(tab.turn().locator(".value").nth(1)).to_contain_text("Not yet")
