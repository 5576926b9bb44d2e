"""What became of a message, beside the conversation: of a clean turn, a crashed one, a cancelled one, one under way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Locator, Page, Route, WebSocketRoute, expect

from tests.browser.tab import SOCKET, Tab
from tests.browser.test_accessibility import violations
from tests.browser.test_phone import overflow
from tests.end_to_end.server import Server
from unbroken.entrypoints.web.frames import CloseCode

SLOW = "words=100 pause=0.05"
ENDLESS = "words=9000 pause=0.05"
ALL = ["Received", "Accepted", "Running", "Committed", "Delivered", "Acknowledged"]


class Inspector:
    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.panel = tab.page.get_by_role("complementary", name="What happened")

    def open(self, number: int = 1) -> Inspector:
        self.tab.turn(number).get_by_role("button", name="What happened").click()
        expect(self.panel).to_be_visible()
        return self

    @property
    def entries(self) -> Locator:
        return self.panel.get_by_role("list", name="In order").get_by_role("listitem")

    @property
    def state(self) -> Locator:
        return self.panel.locator(".outcome span")

    @property
    def titles(self) -> list[str]:
        return [title for title in self.panel.locator(".entry .title").all_text_contents() if title != "Checkpoint"]

    def settled(self) -> Inspector:
        """Every stage was reached; marks of delivery are written once a second, and nobody asks for them by hand."""
        expect(self.panel.locator(".stages li[data-reached=true]")).to_have_count(6)
        return self

    def entry(self, title: str) -> Locator:
        return self.entries.filter(has=self.tab.page.locator(".title").get_by_text(title, exact=True))


@pytest.fixture
def tab(page: Page, server: Server, thread: str) -> Tab:
    """With an agent of three steps."""
    tab = Tab(page, server, thread, agent="three", user=f"the user of {thread}"[:100])
    tab.open()
    return tab


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_clean_turn_is_told_stage_by_stage(tab: Tab, colours: Literal["light", "dark"]) -> None:
    tab.page.emulate_media(color_scheme=colours)
    tab.say("hello")
    tab.ended()
    inspector = Inspector(tab).open().settled()
    expect(inspector.state).to_have_text("Answered · 1 attempt")
    expect(inspector.panel.get_by_role("list", name="Stages").get_by_role("listitem")).to_have_text(
        [re.compile(rf"^{stage}\d\d:\d\d:\d\d\.\d\d\d$") for stage in ALL]
    )
    ends = ["Committed", "Answer", "Delivered", "Acknowledged"]
    assert inspector.titles == ["Received", "Accepted", "Attempt 1", *ends]
    expect(inspector.panel.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"Attempt 1 \d.*Delivering"))
    expect(inspector.panel.get_by_role("link")).to_have_count(0)
    assert violations(tab.page) == []


def test_a_checkpoint_shows_its_contents_on_demand(tab: Tab) -> None:
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.say("remember the milk")
    tab.ended()
    inspector = Inspector(tab).open().settled()
    assert not [url for url in asked if "/checkpoints/" in url]
    last = inspector.entries.filter(has_text="Checkpoint").last
    last.get_by_role("button", name="Show its contents").click()
    contents = json.loads(last.get_by_role("region").text_content() or "")
    assert contents["messages"][0]["content"] == "remember the milk"
    assert len(contents["notes"]) == 1
    assert violations(tab.page) == []
    last.get_by_role("button", name="Put its contents away").click()
    expect(last.get_by_role("region")).to_have_count(0)


def test_a_turn_that_was_killed_shows_both_attempts_and_why(page: Page, folder: Path) -> None:
    """`kill -9` in mid-answer, with the embedded database; the turn is looked at all the while."""
    with Server(folder) as server:
        tab = Tab(page, server, "killed", agent="three")
        tab.open()
        tab.say(SLOW)
        inspector = Inspector(tab).open()
        expect(inspector.state).to_have_text("Running · 1 attempt")
        expect(inspector.panel.get_by_role("img")).to_have_attribute(
            "aria-label", re.compile(r"Accepting .*Waiting .*Attempt 1 \d.* so far$")
        )
        tab.begun()
        server.kill()
        expect(tab.connection).to_contain_text("Reconnecting")
        server.start()
        tab.ended()
        inspector.settled()
    expect(inspector.state).to_have_text("Answered · 2 attempts")
    assert inspector.titles[2:5] == ["Attempt 1", "Attempt 2", "Committed"]
    expect(inspector.entry("Attempt 1")).to_contain_text("lost; a reset took back what it had not committed")
    expect(inspector.entry("Attempt 2")).to_contain_text("the server’s process before was gone")
    expect(inspector.panel.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile(r"Attempt 1, lost within \d.*, Attempt 2 \d")
    )


def test_a_stopped_turn_shows_when_it_was_asked_to_stop(tab: Tab) -> None:
    tab.say(ENDLESS)
    tab.begun()
    tab.page.keyboard.press("Escape")
    tab.ended(1, "cancelled")
    inspector = Inspector(tab).open().settled()
    expect(inspector.state).to_have_text("Stopped · 1 attempt")
    ends = ["Committed", "Stopped", "Delivered", "Acknowledged"]
    assert inspector.titles == ["Received", "Accepted", "Attempt 1", "Stop asked for", *ends]


def test_a_turn_under_way_is_followed_to_its_end_in_two_tabs_and_over_a_lost_socket(tab: Tab) -> None:
    sockets: list[WebSocketRoute] = []

    def route(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    tab.page.route_web_socket(SOCKET, route)
    tab.page.reload()
    expect(tab.connection).to_have_text("Connected")
    other = tab.another()
    tab.say(ENDLESS)
    other.begun()
    first, second = Inspector(tab).open(), Inspector(other).open()
    for inspector in (first, second):
        expect(inspector.state).to_have_text("Running · 1 attempt")
        expect(inspector.panel.locator(".stages li[data-reached=false]")).to_have_text(
            [f"{stage}not yet" for stage in ALL[3:]]
        )
    sockets[-1].close(code=CloseCode.RESTARTING)
    tab.until(lambda: len(sockets) > 1)
    shown = tab.text()
    assert other.begun(letters=len(shown) + 1).startswith(shown)
    expect(first.state).to_have_text("Running · 1 attempt")
    other.box.focus()
    other.page.keyboard.press("Escape")
    assert tab.ended(1, "cancelled") == other.ended(1, "cancelled")
    for inspector in (first, second):
        inspector.settled()
        expect(inspector.state).to_have_text("Stopped · 1 attempt")
    assert first.titles == second.titles


def test_it_opens_and_closes_by_keyboard_and_gives_the_focus_back(tab: Tab) -> None:
    keys = tab.page.keyboard
    inspector = Inspector(tab)
    tab.say("hello")
    tab.ended()
    keys.press("i")
    expect(tab.box).to_have_value("i")
    tab.box.fill("")
    keys.press("Tab")
    keys.press("i")
    expect(inspector.panel.get_by_role("heading", name="What happened")).to_be_focused()
    keys.press("Tab")
    expect(tab.button("Close what happened")).to_be_focused()
    keys.press("Escape")
    expect(inspector.panel).to_have_count(0)
    expect(tab.turn().get_by_role("button", name="What happened")).to_be_focused()
    keys.press("Enter")
    inspector.settled()
    tab.page.keyboard.press("Control+Shift+O")
    expect(inspector.panel).to_have_count(0)


def test_escape_stops_the_answer_while_one_writes_beside_the_panel(tab: Tab) -> None:
    tab.say(ENDLESS)
    inspector = Inspector(tab).open()
    expect(inspector.panel.get_by_role("heading", name="What happened")).to_be_focused()  # which comes a bit later
    tab.box.focus()
    tab.page.keyboard.press("Escape")
    tab.ended(1, "cancelled")
    expect(inspector.panel).to_be_visible()


@pytest.mark.parametrize("width", [1280, 1160])
def test_on_a_laptop_it_stands_beside_the_conversation(tab: Tab, width: int) -> None:
    tab.page.set_viewport_size({"width": width, "height": 800})
    tab.say("hello")
    tab.ended()
    inspector = Inspector(tab).open().settled()
    panel = inspector.panel.bounding_box()
    assert panel is not None
    assert panel["x"] + panel["width"] == width
    for shown in (tab.connection, tab.box, tab.answer(), tab.said()):
        box = shown.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= panel["x"]
    assert overflow(tab.page) == 0


def test_on_a_phone_it_covers_the_conversation(tab: Tab) -> None:
    tab.page.set_viewport_size({"width": 375, "height": 667})
    tab.say("hello")
    tab.ended()
    inspector = Inspector(tab).open().settled()
    box = inspector.panel.bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, 375)
    assert overflow(tab.page) == 0
    assert violations(tab.page) == []
    sizes = inspector.panel.locator("button:visible").evaluate_all("(all) => all.map((one) => one.offsetHeight)")
    assert min(sizes) >= 24
    tab.button("Close what happened").click()
    expect(tab.turn().get_by_role("button", name="What happened")).to_be_focused()


def told(**effect: Any) -> dict[str, Any]:
    """A turn with a timer, and with nothing of it known but that it was accepted."""
    at = "2026-11-01T00:00:01Z"
    timer = {"kind": "effect", "at": at, "effectId": "e-1", "type": "schedule_timer", "tries": 5}
    body = {"type": "schedule_timer", "after_s": 5.0}
    entries = [
        {"kind": "received", "at": None},
        {"kind": "accepted", "at": at},
        {"kind": "attempt", "at": None, "attempt": 7},
        {"kind": "committed", "at": at, "attempt": 7},
        timer | {"body": body} | effect,
    ]
    turn = {"seq": 1, "requestId": "r", "type": "user_message", "state": "answered", "attempts": None, "traceId": None}
    link = "https://traces.example/trace/" + "a" * 32
    return {"turns": [turn | {"entries": entries, "traceUrl": link}], "before": None}


def test_a_dead_letter_can_be_looked_at_and_tried_again(tab: Tab) -> None:
    """The server's answers are ours: what was not stored, and an effect that was given up."""
    answers = [told(status="failed", error="ValueError: no such place"), told(status="completed", tries=6)]
    asked: list[str] = []

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route.request.url)
            route.fulfill(status=202, json={"effectId": "e-1"})
        else:
            route.fulfill(json=answers[min(len(asked), 1)])

    tab.page.route("**/api/sessions/**", answer)
    tab.say("hello")
    tab.ended()
    inspector = Inspector(tab).open()
    timer = inspector.entry("Timer")
    expect(timer).to_contain_text("given up, 5 tries, ValueError: no such place")
    expect(timer.get_by_role("region", name="What was to be done")).to_contain_text('"after_s": 5')
    expect(inspector.entry("Received")).to_contain_text("not known")
    expect(inspector.entry("Attempt 7")).to_contain_text("not known")
    expect(inspector.state).to_have_text("Answered")
    expect(inspector.panel.get_by_role("link", name="Open its trace")).to_have_attribute(
        "href", "https://traces.example/trace/" + "a" * 32
    )
    assert violations(tab.page) == []
    timer.get_by_role("button", name="Try once more").click()
    expect(timer).to_contain_text("done, 6 tries")
    (address,) = asked
    assert address.split("?")[0].endswith("/effects/e-1/retry")
