"""The list of conversations."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from tests.browser.tab import Tab
from tests.end_to_end.server import Server


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def three(tab: Tab) -> None:
    """Three conversations, the last one open."""
    for number, text in enumerate(("about tea", "about coffee", "about milk")):
        if number:
            tab.button("New conversation").click()
        tab.say(text)
        tab.ended()
        expect(tab.list.get_by_role("link", name=text)).to_be_visible()


def test_conversations_are_listed_and_opened_where_they_were_left(tab: Tab) -> None:
    three(tab)
    expect(tab.list.get_by_role("link")).to_have_text(["about milk", "about coffee", "about tea"])
    expect(tab.list.locator("[aria-current=page]")).to_have_text("about milk")
    tab.list.get_by_role("link", name="about tea").click()
    expect(tab.title).to_have_text("about tea")
    assert tab.ended() == "You said: about tea"
    assert query(tab.page)["threadId"] == [tab.thread]
    tab.page.go_back()
    expect(tab.title).to_have_text("about milk")
    tab.page.reload()
    expect(tab.title).to_have_text("about milk")
    assert tab.ended() == "You said: about milk"


def test_a_search_finds_what_was_said(tab: Tab) -> None:
    three(tab)
    search = tab.page.get_by_label("Search conversations")
    search.fill("coffee")
    expect(tab.list.get_by_role("link")).to_have_text(["about coffee"])
    search.fill("nothing of the kind")
    expect(tab.list).to_contain_text("Nothing found.")
    search.fill("")
    expect(tab.list.get_by_role("link")).to_have_count(3)


def test_a_conversation_is_renamed_in_every_tab(tab: Tab) -> None:
    tab.say("about tea")
    tab.ended()
    other = tab.another()
    tab.button("Rename about tea").click()
    name = tab.page.get_by_label("Name of the conversation")
    expect(name).to_have_value("about tea")
    name.fill("Tea, and how to brew it")
    name.press("Enter")
    for each in (tab, other):
        expect(each.title).to_have_text("Tea, and how to brew it")
        expect(each.list.get_by_role("link")).to_have_text("Tea, and how to brew it")
    tab.button("Rename Tea, and how to brew it").click()
    name.fill("not this")
    name.press("Escape")
    tab.page.reload()
    expect(tab.title).to_have_text("Tea, and how to brew it")


def test_a_conversation_is_deleted_when_that_is_confirmed_and_gone_in_every_tab(tab: Tab) -> None:
    three(tab)
    other = tab.another()
    expect(other.title).to_have_text("about tea")
    tab.button("Delete about tea").click()
    dialog = tab.page.get_by_role("dialog", name="Delete this conversation?")
    expect(dialog).to_contain_text("“about tea”")
    tab.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    tab.button("Delete about tea").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(tab.list.get_by_role("link")).to_have_text(["about milk", "about coffee"])
    expect(tab.title).to_have_text("about milk")
    expect(other.connection).to_have_text("This conversation was deleted.")
    expect(other.box).to_be_disabled()
    expect(other.list.get_by_role("link")).to_have_text(["about milk", "about coffee"])


def test_the_open_conversation_is_replaced_by_an_empty_one_when_it_is_deleted(tab: Tab) -> None:
    tab.say("about tea")
    tab.ended()
    tab.button("Delete about tea").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(tab.turns).to_have_count(0)
    expect(tab.page.get_by_text("What would you like to talk about?")).to_be_visible()
    expect(tab.box).to_be_focused()
    assert query(tab.page)["threadId"] != [tab.thread]


def test_a_draft_waits_in_its_conversation(tab: Tab) -> None:
    tab.say("about tea")
    tab.ended()
    tab.box.fill("not yet sent")
    tab.button("New conversation").click()
    expect(tab.box).to_have_value("")
    tab.list.get_by_role("link", name="about tea").click()
    expect(tab.box).to_have_value("not yet sent")
    tab.page.reload()
    expect(tab.box).to_have_value("not yet sent")


def test_an_empty_conversation_may_have_another_agent(tab: Tab) -> None:
    tab.box.fill("weigh 5")
    tab.page.get_by_label("Agent").select_option("tool")
    expect(tab.connection).to_have_text("Connected")
    expect(tab.box).to_have_value("weigh 5")
    tab.box.press("Enter")
    tab.ended()
    expect(tab.turn().locator(".tool")).to_contain_text("weigh")
    expect(tab.page.get_by_label("Agent")).to_have_count(0)
    assert query(tab.page)["agentId"] == ["tool"]


def test_an_address_without_the_agent_finds_the_conversation_all_the_same(tab: Tab) -> None:
    tab.say("about tea")
    tab.ended()
    tab.page.goto(tab.address().replace("agentId=talker&", ""))
    assert tab.ended() == "You said: about tea"
    assert query(tab.page)["agentId"] == ["talker"]


def test_a_page_without_a_thread_makes_one_and_names_it_in_its_address(page: Page, server: Server) -> None:
    page.goto(f"http://127.0.0.1:{server.port}/")
    expect(page.get_by_role("status")).to_have_text("Connected")
    assert len(query(page)["threadId"][0]) == 32


def test_without_a_list_of_threads_one_can_still_talk(page: Page, server: Server, thread: str) -> None:
    """As with an older server."""
    page.route("**/api/threads?*", lambda route: route.fulfill(status=404, body="{}"))
    page.route("**/api/me*", lambda route: route.fulfill(status=404, body="{}"))
    tab = Tab(page, server, thread)
    tab.open()
    tab.say("hello")
    assert tab.ended() == "You said: hello"
    expect(page.get_by_label("Search conversations")).to_have_count(0)
    expect(tab.title).to_have_text("hello")
