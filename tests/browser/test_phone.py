"""A window as wide as a hand."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.tab import Tab
from tests.browser.test_accessibility import violations
from tests.browser.test_chatting import MARKDOWN
from tests.end_to_end.server import Server

WIDE = "```\n" + "x" * 300 + "\n```\n\n| a | b |\n|-|-|\n| " + "y" * 80 + " | z |\n\n" + "w" * 200


@pytest.fixture
def tab(page: Page, server: Server, thread: str) -> Tab:
    page.set_viewport_size({"width": 375, "height": 667})
    tab = Tab(page, server, thread, user=thread)
    tab.open()
    return tab


def overflow(page: Page) -> int:
    """Pixels that one would have to scroll sideways."""
    width: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    column: int = page.evaluate(
        "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('.scroller'))"
    )
    return max(width, column)


def test_nothing_is_wider_than_the_window(tab: Tab) -> None:
    tab.say(MARKDOWN)
    tab.ended()
    tab.say(f"say {WIDE}")
    tab.ended(2)
    assert overflow(tab.page) == 0
    for part in (tab.box, tab.button("Send"), tab.button("Attach files"), tab.button("Conversations")):
        expect(part).to_be_in_viewport(ratio=1)


def test_the_list_is_a_drawer_that_keeps_the_focus_and_gives_it_back(tab: Tab) -> None:
    tab.say("about tea")
    tab.ended()
    expect(tab.list).not_to_be_in_viewport()
    tab.button("Conversations").click()
    expect(tab.list.get_by_role("link", name="about tea")).to_be_in_viewport()
    expect(tab.button("New conversation")).to_be_focused()
    assert violations(tab.page) == []
    tab.page.keyboard.press("Escape")
    expect(tab.list).not_to_be_in_viewport()
    expect(tab.button("Conversations")).to_be_focused()
    tab.button("Conversations").click()
    tab.button("New conversation").click()
    expect(tab.list).not_to_be_in_viewport()
    expect(tab.turns).to_have_count(0)
    assert violations(tab.page) == []


def test_what_is_touched_is_large_enough(tab: Tab) -> None:
    """24 by 24 CSS pixels (WCAG 2.2, 2.5.8)."""
    tab.say(MARKDOWN)
    tab.ended()
    tab.button("Conversations").click()
    sizes = tab.page.locator("button:visible").evaluate_all(
        "(all) => all.map((one) => [one.ariaLabel ?? one.textContent, one.offsetWidth, one.offsetHeight])"
    )
    assert [size for size in sizes if min(size[1:]) < 24] == []


def test_the_connection_is_said_also_where_there_is_little_room(tab: Tab) -> None:
    tab.page.route_web_socket("**", lambda socket: socket.close(code=1013))
    tab.page.reload()
    expect(tab.connection).to_contain_text("Reconnecting")
    assert overflow(tab.page) == 0
