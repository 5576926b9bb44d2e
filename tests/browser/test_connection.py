"""Whatever happens to the page, the network and the server: nothing is lost or doubled, and the page says so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocket, WebSocketRoute, expect

from tests.browser.tab import SOCKET, Tab
from tests.end_to_end.server import Server
from unbroken.entrypoints.web.frames import CloseCode

SLOW = "words=60 pause=0.05"


@pytest.fixture
def tab(page: Page, server: Server, thread: str) -> Tab:
    """With the agent whose attempts all say something else."""
    tab = Tab(page, server, thread, agent="one", user=thread)
    tab.open()
    return tab


def test_a_reload_in_mid_answer_loses_and_doubles_nothing(tab: Tab) -> None:
    tab.say(SLOW)
    before = tab.begun()
    tab.page.reload()
    after = tab.begun(letters=len(before))
    assert after.startswith(before)
    attempt = tab.turn().get_attribute("data-attempt")
    final = tab.ended()
    assert final.startswith(after)
    assert tab.turn().get_attribute("data-attempt") == attempt == "1"
    tab.page.reload()
    assert tab.ended() == final


def test_a_socket_cut_in_mid_answer_is_resumed_where_the_text_ends(page: Page, server: Server, thread: str) -> None:
    sockets: list[WebSocketRoute] = []
    heard: list[list[str]] = []

    def route(socket: WebSocketRoute) -> None:
        upstream = socket.connect_to_server()
        types: list[str] = []

        def pass_on(message: str | bytes) -> None:
            types.append(json.loads(message)["type"])
            socket.send(message)

        upstream.on_message(pass_on)
        sockets.append(socket)
        heard.append(types)

    page.route_web_socket(SOCKET, route)
    tab = Tab(page, server, thread, agent="one")
    tab.open()
    tab.say(SLOW)
    for cuts in (1, 2, 3):
        before = tab.begun(letters=cuts * 40)
        sockets[-1].close(code=CloseCode.RESTARTING)
        tab.until(lambda number=cuts: len(sockets) > number)  # type: ignore[misc]
        assert tab.begun(letters=len(before) + 1).startswith(before)
    final = tab.ended()
    page.reload()
    assert tab.ended() == final
    assert [types.count("reset") for types in heard] == [1, 0, 0, 0, 0]


def test_two_tabs_show_the_same(tab: Tab) -> None:
    other = tab.another()
    tab.say(SLOW)
    other.begun()
    other.say("second")
    expect(tab.state(2)).to_have_text("Waiting for its turn")
    for number in (1, 2):
        assert tab.ended(number) == other.ended(number)


def test_whoever_types_while_the_server_is_dead_is_answered_when_it_is_back(page: Page, folder: Path) -> None:
    """`kill -9` in mid-answer, with the embedded database."""
    with Server(folder) as server:
        tab = Tab(page, server, "pulled-plug", agent="one")
        tab.open()
        tab.say(SLOW)
        tab.begun()
        server.kill()
        expect(tab.connection).to_contain_text("Reconnecting")
        tab.say("are you there?")
        expect(tab.state(2)).to_contain_text("as soon as there is a connection")
        shown = tab.text()
        server.start()
        expect(tab.connection).to_have_text("Connected")
        first = tab.ended()
        assert tab.turn().get_attribute("data-attempt") == "2"
        assert not first.startswith(shown), "each attempt says something else"
        expect(tab.said(2)).to_have_text("are you there?")
        tab.ended(2)
        page.reload()
        assert [tab.ended(1), tab.ended(2)] == [first, tab.text(2)]
        expect(tab.turns).to_have_count(2)


def test_what_was_typed_without_a_connection_outlives_the_tab(page: Page, server: Server, thread: str) -> None:
    context = page.context
    context.route_web_socket(SOCKET, lambda socket: socket.close(code=CloseCode.OVERLOADED))
    tab = Tab(page, server, thread, agent="one")
    page.goto(tab.address())
    tab.say("keep this")
    expect(tab.turn()).to_have_attribute("data-phase", "unsent")
    expect(tab.connection).to_have_text(re.compile(r"Reconnecting in \d s…"))
    later = Tab(context.new_page(), server, thread, agent="one")
    later.page.route_web_socket(SOCKET, lambda socket: socket.connect_to_server())
    page.close()
    later.open()
    expect(later.said()).to_have_text("keep this")
    later.ended()
    expect(later.turns).to_have_count(1)


def test_an_unsent_message_can_be_taken_back_and_sent_otherwise(page: Page, server: Server, thread: str) -> None:
    page.route_web_socket(SOCKET, lambda socket: socket.close(code=CloseCode.OVERLOADED))
    tab = Tab(page, server, thread)
    page.goto(tab.address())
    tab.say("too hasty")
    tab.button("Take back").click()
    expect(tab.turns).to_have_count(0)
    expect(tab.box).to_have_value("too hasty")


def test_being_offline_is_said_and_what_was_said_meanwhile_is_sent(page: Page, server: Server, thread: str) -> None:
    sockets: list[WebSocketRoute] = []

    def route(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if page.evaluate("navigator.onLine"):
            socket.connect_to_server()
        else:
            socket.close(code=CloseCode.OVERLOADED)

    page.route_web_socket(SOCKET, route)
    tab = Tab(page, server, thread)
    tab.open()
    page.context.set_offline(True)
    sockets[-1].close(code=CloseCode.RESTARTING)
    expect(tab.connection).to_have_text("You’re offline; your messages will be sent")
    tab.say("hello")
    expect(tab.turn()).to_have_attribute("data-phase", "unsent")
    page.context.set_offline(False)
    assert tab.ended() == "You said: hello"


def test_an_unsent_message_follows_when_another_conversation_is_opened(tab: Tab) -> None:
    """The one that is left stays connected until everything said in it has its receipt."""
    tab.say("first")
    tab.button("New conversation").click()
    tab.say("second")
    tab.ended()
    tab.list.get_by_role("link", name="first").click()
    expect(tab.said()).to_have_text("first")
    tab.ended()


def test_what_was_presented_is_acknowledged(page: Page, server: Server, thread: str) -> None:
    sent: list[dict[str, object]] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda payload: sent.append(json.loads(payload)))

    page.on("websocket", listen)
    tab = Tab(page, server, thread)
    tab.open()
    for number in (1, 2):
        tab.say(f"say {number}")
        tab.ended(number)
        tab.until(lambda cursor=number: {"type": "ack", "cursor": cursor} in sent)  # type: ignore[misc]


def test_what_a_gap_left_out_is_read_from_the_history(tab: Tab) -> None:
    texts = []
    for number in (1, 2, 3):
        tab.say(f"message {number}")
        texts.append(tab.ended(number))
    tab.hear({"type": "gap", "cursor": 3, "reason": "too_far"})
    tab.page.reload()
    assert [tab.ended(number) for number in (1, 2, 3)] == texts
    expect(tab.button("Earlier messages")).to_have_count(0)


def test_a_history_that_cannot_be_read_is_said_and_can_be_tried_again(page: Page, server: Server, thread: str) -> None:
    tab = Tab(page, server, thread)
    tab.hear({"type": "gap", "cursor": 3, "reason": "retained"})
    tab.open()
    expect(page.get_by_role("alert")).to_contain_text("Earlier messages cannot be read")
    expect(tab.button("Earlier messages")).to_be_visible()


def test_an_agent_that_does_not_exist_ends_it_in_words(page: Page, server: Server, thread: str) -> None:
    tab = Tab(page, server, thread, agent="nobody")
    page.goto(tab.address())
    expect(tab.connection).to_have_text("The server does not have this agent.")
    expect(tab.box).to_be_disabled()


def test_an_ended_session_asks_to_sign_in_again(page: Page, server: Server, thread: str) -> None:
    page.route_web_socket(SOCKET, lambda socket: socket.close(code=CloseCode.NOT_AUTHENTICATED))
    page.goto(Tab(page, server, thread).address())
    expect(page.get_by_role("alert")).to_contain_text("Your session has ended. Sign in again.")
    page.unroute_all()
    page.route("**/api/me*", lambda route: route.fulfill(status=401, body="{}"))
    page.goto(Tab(page, server, thread).address())
    expect(page.get_by_role("alert")).to_contain_text("Your session has ended. Sign in again.")
