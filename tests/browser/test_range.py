"""What stands beside an answer's words: folded, in its place, and there again for whoever opens the page later."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.tab import Tab, final, user
from tests.browser.test_accessibility import violations
from tests.end_to_end.server import Server

PLACE = {"requestId": "r", "attempt": 1, "offset": 0, "namespace": []}
BEGUN: list[dict[str, Any]] = [user("r", 1), {"type": "reset", "requestId": "r", "attempt": 1, "reason": "started"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

IMAGE = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}


def open_with(page: Page, server: Server, thread: str, *frames: dict[str, Any]) -> Tab:
    tab = Tab(page, server, thread)
    tab.hear(*BEGUN, *frames)
    tab.open()
    return tab


def test_reasoning_is_folded_and_gives_way_to_the_answer(page: Page, server: Server, thread: str) -> None:
    thinks = {"type": "reasoning", "messageId": "m", "value": "Hm, **let** me see.", **PLACE}
    tab = open_with(page, server, thread, thinks)
    thought = tab.answer().locator("details.thought")
    expect(thought).to_contain_text("Thinking")
    expect(thought.locator(".prose")).to_be_hidden()
    expect(tab.state()).to_have_count(0)
    thought.locator("summary").click()
    expect(thought.locator("strong")).to_have_text("let")


def test_what_subgraphs_say_and_agents_write_stands_beside_the_text(page: Page, server: Server, thread: str) -> None:
    within = PLACE | {"namespace": ["errand:1", "inner:2"]}
    tab = open_with(
        page,
        server,
        thread,
        {"type": "aside", "messageId": "a", "value": "From <b>within</b>.", **within},
        {"type": "custom", "value": {"done": 0.5}, **PLACE},
        {"type": "custom", "value": "nearly there", **within},
        {"type": "token", "value": "The answer.", "messageId": "m", "requestId": "r", "attempt": 1, "offset": 0},
    )
    aside, custom = tab.answer().locator("details.thought").all()
    expect(aside.locator("summary")).to_have_text("errand › inner")
    expect(aside.locator(".prose")).to_contain_text("From")
    expect(aside.locator("b")).to_have_count(0)
    expect(custom.locator("summary")).to_contain_text("nearly there")
    custom.locator("summary").click()
    expect(custom.get_by_role("listitem")).to_have_count(2)
    expect(custom.get_by_role("listitem").first).to_contain_text('"done": 0.5')
    expect(tab.answer().locator("> .prose").last).to_have_text("The answer.")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_of_it_has_a_fault_for_whoever_does_not_see_it(
    page: Page, server: Server, thread: str, colours: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=colours)
    within = PLACE | {"namespace": ["errand:1"]}
    tab = open_with(
        page,
        server,
        thread,
        {"type": "reasoning", "messageId": "m", "value": "Hm.", **PLACE},
        {"type": "aside", "messageId": "a", "value": "From within.", **within},
        {"type": "custom", "value": {"done": 0.5}, **PLACE},
        {"type": "custom", "value": "nearly there", **within},
        final(
            "r",
            1,
            "Look:",
            content=[{"id": "m", "role": "assistant", "content": [{"type": "text", "text": "Look:"}, IMAGE]}],
        ),
    )
    expect(tab.answer().locator("img")).to_be_visible()
    assert violations(page) == []
    for folded in tab.answer().locator("details.thought summary").all():
        folded.click()
    assert violations(page) == []


def test_pictures_and_thoughts_of_the_past_are_shown(page: Page, server: Server, thread: str) -> None:
    blocks = [
        {"type": "reasoning", "reasoning": "I draw."},
        {"type": "text", "text": "Look:"},
        IMAGE,
        IMAGE | {"mime_type": "text/html"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]
    told = final("r", 1, "Look:", content=[{"id": "m", "role": "assistant", "content": blocks}])
    tab = open_with(page, server, thread, told)
    picture = tab.answer().locator("img")
    expect(picture).to_have_count(1)
    tab.until(lambda: picture.evaluate("one => one.naturalWidth") == 1)
    expect(tab.answer().locator("details.thought")).to_contain_text("Thought")
    expect(tab.answer().get_by_role("link")).to_have_attribute("href", "https://example.org/a.png")
    expect(tab.answer().get_by_role("link")).to_have_attribute("rel", "noopener noreferrer")
