"""For whoever does not see the page, does not use a mouse, or has the lamp off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.tab import Tab
from tests.browser.test_chatting import MARKDOWN
from tests.browser.test_files import NOTE, PICTURE, attach
from tests.end_to_end.server import Server

AXE = (Path(__file__).parent / "axe" / "axe-4.14.1.min.js").read_text()


def violations(page: Page) -> list[str]:
    """All that axe-core finds, its best practices included. Injected past the page's policy, as a tool of ours."""
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [f"{one['id']}: {node['html'][:200]} {node['any'][:1]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_state_of_the_page_has_a_fault(
    page: Page, server: Server, thread: str, colours: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=colours)
    tab = Tab(page, server, thread, user=f"{colours}-{thread}")
    tab.open()
    expect(page.get_by_text("What would you like to talk about?")).to_be_visible()
    assert violations(page) == []
    attach(tab, PICTURE, NOTE)
    expect(page.get_by_text("17 B")).to_be_visible()
    tab.say(MARKDOWN)
    tab.ended()
    tab.say('ask {"question": "Which?", "options": ["a", "b"]}')
    expect(tab.button("b")).to_be_visible()
    assert violations(page) == []
    tab.button("b").click()
    tab.ended(3)
    tab.say(f"stumble {colours}")
    tab.ended(4, "failed")
    tab.turn(1).hover()
    assert violations(page) == []
    tab.box.press("ArrowUp")
    expect(page.get_by_label("Edit your message")).to_be_focused()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete say ## A plan").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []


def test_tools_and_the_lost_connection_have_no_fault(page: Page, server: Server, thread: str) -> None:
    tab = Tab(page, server, thread, agent="tool")
    tab.open()
    tab.say("weigh 7")
    tab.ended()
    tab.turn().locator(".tool summary").click()
    assert violations(page) == []
    page.route_web_socket("**", lambda socket: socket.close(code=1013))
    page.reload()
    tab.say("hello")
    expect(tab.connection).to_contain_text("Reconnecting")
    expect(tab.state()).to_contain_text("as soon as there is a connection")
    assert violations(page) == []


def test_everything_can_be_done_without_a_mouse(tab: Tab) -> None:
    page, keys = tab.page, tab.page.keyboard
    expect(tab.box).to_be_focused()
    keys.type("long 500")
    keys.press("Shift+Enter")
    keys.press("Enter")
    tab.begun(letters=10)
    keys.press("Escape")
    tab.ended(1, "cancelled")
    keys.press("ArrowUp")
    expect(page.get_by_label("Edit your message")).to_be_focused()
    keys.press("Control+a")
    keys.type('ask {"question": "Which?", "options": ["a", "b"]}')
    keys.press("Enter")
    tab_to(page, page.get_by_role("button", name="b", exact=True), backwards=True)
    keys.press("Enter")
    tab.ended(2)
    keys.press("Control+Shift+O")
    expect(tab.turns).to_have_count(0)
    keys.type("other")
    keys.press("Enter")
    tab.ended()
    keys.press("Control+k")
    expect(page.get_by_label("Search conversations")).to_be_focused()
    keys.type("which")
    expect(tab.list.get_by_role("link")).to_have_count(1)
    tab_to(page, tab.list.get_by_role("link"))
    keys.press("Enter")
    expect(tab.turns).to_have_count(2)
    tab_to(page, tab.button("Keyboard shortcuts"), backwards=True)
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    keys.press("Escape")
    expect(tab.button("Keyboard shortcuts")).to_be_focused()
    keys.press("/")
    expect(tab.box).to_be_focused()
    tab_to(page, tab.list.get_by_role("button", name=re.compile("^Delete")), backwards=True)


def tab_to(page: Page, target: Locator, *, backwards: bool = False) -> None:
    """Press Tab until the focus is there; it must be visible on the way."""
    for _ in range(40):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if target.evaluate("(element) => element === document.activeElement"):
            outline = "(element) => getComputedStyle(element).outlineStyle"
            assert target.evaluate(outline) != "none"
            return
    raise AssertionError(f"{target} cannot be reached by Tab")


def test_an_answer_is_announced_once_and_whole(tab: Tab) -> None:
    tab.page.evaluate(
        """() => {
            window.announced = [];
            const live = document.querySelector("[aria-live=polite]");
            new MutationObserver(() => announced.push(live.textContent)).observe(live, { childList: true });
        }"""
    )
    assert tab.page.get_by_role("log").count() == 0
    tab.say("say one two three four five six seven eight nine ten")
    tab.ended()
    tab.say('ask "sure?"')
    expect(tab.page.get_by_role("region", name="Question")).to_be_visible()
    tab.until(lambda: len(tab.page.evaluate("announced")) == 2)
    assert tab.page.evaluate("announced") == [
        "Answer: one two three four five six seven eight nine ten",
        "The agent asks: sure?",
    ]


def test_colours_follow_the_system_until_one_chooses(tab: Tab) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(paper)
    tab.page.emulate_media(color_scheme="dark")
    dark = tab.page.evaluate(paper)
    assert dark != light
    tab.button("Colours: auto").click()
    assert tab.page.evaluate(paper) == light
    tab.button("Colours: light").click()
    tab.page.emulate_media(color_scheme="light")
    assert tab.page.evaluate(paper) == dark
    tab.page.reload()
    expect(tab.button("Colours: dark")).to_be_visible()
    assert tab.page.evaluate(paper) == dark


def test_nothing_moves_for_whoever_asked_for_that(page: Page, server: Server, thread: str) -> None:
    moving = "document.getAnimations().length"
    page.emulate_media(reduced_motion="no-preference")
    tab = Tab(page, server, thread)
    tab.open()
    tab.say("long 60")
    tab.begun(letters=10)
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0
    expect(tab.turn()).to_have_attribute("data-phase", "running")
