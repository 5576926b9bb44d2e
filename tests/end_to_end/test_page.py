"""The page in a real browser, against a real server: what a person sees."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocket, WebSocketRoute, expect, sync_playwright

from tests.end_to_end.conftest import Serving
from tests.end_to_end.server import Server
from unbroken.entrypoints.web.frames import CloseCode

PATIENCE_MS = 30_000
SLOW = "words=60 pause=0.05"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "the page is tested in Chromium, which is not installed (Debian: apt-get install chromium)"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab; whatever its scripts complain about fails the test."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def address(server: Server, thread: str, **more: str) -> str:
    query = urlencode({"threadId": thread, "agentId": "one"} | more)
    return f"http://127.0.0.1:{server.port}/?{query}"


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")


def turn(page: Page, number: int) -> Locator:
    return page.get_by_role("log").locator(".turn").nth(number - 1)


def answer(page: Page, number: int = 1) -> str:
    return turn(page, number).get_by_label("Answer").text_content() or ""


def answered(page: Page, number: int = 1) -> str:
    """The text of a turn that has reached its end."""
    expect(turn(page, number)).to_have_attribute("data-phase", "answered")
    return answer(page, number)


def begun(page: Page, number: int = 1, letters: int = 30) -> str:
    """The text of a turn once it has grown to some length."""
    expect(turn(page, number).get_by_label("Answer")).to_have_text(re.compile(f".{{{letters},}}", re.DOTALL))
    return answer(page, number)


def speak(page: Page, *frames: dict[str, object]) -> None:
    """Be the server's side of the page's next sockets, and say only this."""

    def route(socket: WebSocketRoute) -> None:
        for frame in frames:
            socket.send(json.dumps(frame))

    page.route_web_socket(re.compile("/api/chat/ws"), route)


def test_what_is_typed_is_answered_with_nothing_from_elsewhere(serving: Serving, page: Page, thread: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address(serving.server, thread))
    expect(page.get_by_role("status")).to_have_text("Connected")
    say(page, "hello")
    expect(turn(page, 1).get_by_label("You said")).to_have_text("hello")
    assert answered(page)
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {
        f"127.0.0.1:{serving.server.port}"
    }


def test_markup_from_outside_stays_text(serving: Serving, page: Page, thread: str) -> None:
    markup = "<b>bold</b><img src=x onerror='throw 1'>"
    frames: list[dict[str, object]] = [
        {"type": "user", "requestId": "r", "seq": 1, "createdAt": "2026-11-01T00:00:00Z", "content": markup},
        {"type": "reset", "requestId": "r", "attempt": 1, "reason": "started"},
        {"type": "token", "requestId": "r", "value": markup, "attempt": 1, "offset": 0, "messageId": "m"},
        {"type": "error", "code": "too_fast", "message": markup, "retryable": True},
        {"type": "error", "code": "model_failed", "message": markup, "retryable": False, "requestId": "r", "cursor": 1},
    ]
    speak(page, *frames)
    page.goto(address(serving.server, thread))
    expect(turn(page, 1).locator(".state")).to_have_text(f"Failed: {markup} (model_failed)")
    expect(turn(page, 1).get_by_label("You said")).to_have_text(markup)
    expect(page.get_by_role("alert")).to_contain_text(markup)
    assert answer(page) == markup
    assert page.locator("body b, body img").count() == 0


def test_a_reload_in_mid_answer_loses_and_doubles_nothing(serving: Serving, page: Page, thread: str) -> None:
    page.goto(address(serving.server, thread))
    say(page, SLOW)
    before = begun(page)
    page.reload()
    after = begun(page, letters=len(before))
    assert after.startswith(before)
    attempt = turn(page, 1).get_attribute("data-attempt")
    final = answered(page)
    assert final.startswith(after)
    assert turn(page, 1).get_attribute("data-attempt") == attempt == "1"
    page.reload()
    assert answered(page) == final


def test_a_socket_cut_in_mid_answer_is_resumed_where_the_text_ends(serving: Serving, page: Page, thread: str) -> None:
    sockets: list[WebSocketRoute] = []
    heard: list[list[str]] = []

    def route(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        types: list[str] = []

        def pass_on(message: str | bytes) -> None:
            types.append(json.loads(message)["type"])
            socket.send(message)

        server.on_message(pass_on)
        sockets.append(socket)
        heard.append(types)

    page.route_web_socket(re.compile("/api/chat/ws"), route)
    page.goto(address(serving.server, thread))
    say(page, SLOW)
    for cuts in (1, 2, 3):
        before = begun(page, letters=cuts * 40)
        sockets[-1].close(code=CloseCode.RESTARTING)
        wait_until(page, lambda number=cuts: len(sockets) > number)  # type: ignore[misc]
        assert begun(page, letters=len(before) + 1).startswith(before)
    final = answered(page)
    page.reload()
    assert answered(page) == final
    assert [types.count("reset") for types in heard] == [1, 0, 0, 0, 0]


def test_two_tabs_show_the_same(serving: Serving, page: Page, thread: str) -> None:
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(address(serving.server, thread))
        expect(tab.get_by_role("status")).to_have_text("Connected")
    say(page, SLOW)
    begun(other)
    say(other, "second")
    expect(turn(page, 2).locator(".state")).to_have_text("Accepted; waiting for its turn")
    for number in (1, 2):
        assert answered(page, number) == answered(other, number)


def test_whoever_types_while_the_server_is_dead_is_answered_when_it_is_back(
    page: Page, database_url: str, open_folder: Path
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="page-", dir=open_folder))
    with Server(folder, database_url=database_url) as server:
        page.goto(address(server, "pulled-plug"))
        say(page, SLOW)
        begun(page)
        server.kill()
        expect(page.get_by_role("status")).to_contain_text("No connection")
        say(page, "are you there?")
        expect(turn(page, 2).locator(".state")).to_contain_text("as soon as there is a connection")
        shown = answer(page)
        server.start()
        expect(page.get_by_role("status")).to_have_text("Connected")
        first = answered(page)
        assert turn(page, 1).get_attribute("data-attempt") == "2"
        assert not first.startswith(shown), "each attempt says something else"
        expect(turn(page, 2).get_by_label("You said")).to_have_text("are you there?")
        answered(page, 2)
        page.reload()
        assert [answered(page, 1), answered(page, 2)] == [first, answer(page, 2)]
        assert page.locator(".turn").count() == 2


def test_what_was_typed_without_a_connection_outlives_a_reload(serving: Serving, page: Page, thread: str) -> None:
    blocked = True

    def route(socket: WebSocketRoute) -> None:
        if not blocked:
            socket.connect_to_server()
        else:
            socket.close(code=CloseCode.OVERLOADED)

    page.route_web_socket(re.compile("/api/chat/ws"), route)
    page.goto(address(serving.server, thread))
    say(page, "keep this")
    expect(turn(page, 1)).to_have_attribute("data-phase", "unsent")
    blocked = False
    page.reload()
    expect(turn(page, 1).get_by_label("You said")).to_have_text("keep this")
    answered(page)
    assert page.locator(".turn").count() == 1


def test_tools_are_shown_while_they_work_and_to_whoever_comes_later(serving: Serving, page: Page, thread: str) -> None:
    page.goto(address(serving.server, thread, agentId="tool"))
    say(page, "weigh 7")
    answered(page)
    expect(turn(page, 1).locator(".tools li")).to_have_text("✓ weigh")
    page.reload()
    answered(page)
    expect(turn(page, 1).locator(".tools li")).to_have_text("✓ weigh")


def test_a_failed_turn_says_so(serving: Serving, page: Page, thread: str) -> None:
    page.goto(address(serving.server, thread))
    say(page, "fail=3")
    expect(turn(page, 1)).to_have_attribute("data-phase", "failed")
    expect(turn(page, 1).locator(".state")).to_contain_text("model_failed")


def test_what_was_presented_is_acknowledged(serving: Serving, page: Page, thread: str) -> None:
    sent: list[dict[str, object]] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda payload: sent.append(json.loads(payload)))

    page.on("websocket", listen)
    page.goto(address(serving.server, thread))
    say(page, "hi")
    answered(page)
    wait_until(page, lambda: {"type": "ack", "cursor": 1} in sent)
    say(page, "again")
    answered(page, 2)
    wait_until(page, lambda: {"type": "ack", "cursor": 2} in sent)


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    for _ in range(PATIENCE_MS // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never came to be")


def test_what_a_gap_left_out_is_read_from_the_history(serving: Serving, page: Page, thread: str) -> None:
    page.goto(address(serving.server, thread))
    texts = []
    for number in (1, 2, 3):
        say(page, f"message {number}")
        texts.append(answered(page, number))
    gap: dict[str, object] = {"type": "gap", "cursor": 3, "reason": "too_far"}
    speak(page, gap)
    page.reload()
    assert [answered(page, number) for number in (1, 2, 3)] == texts
    expect(page.get_by_role("button", name="Earlier messages")).to_have_count(0)


def test_a_history_that_cannot_be_read_is_said_and_can_be_tried_again(
    serving: Serving, page: Page, thread: str
) -> None:
    gap: dict[str, object] = {"type": "gap", "cursor": 3, "reason": "retained"}
    speak(page, gap)
    page.goto(address(serving.server, thread))
    expect(page.get_by_role("alert")).to_have_text("Earlier messages cannot be read: the server answered 404.")
    expect(page.get_by_role("button", name="Earlier messages")).to_be_visible()


def test_an_agent_that_does_not_exist_ends_it_in_words(serving: Serving, page: Page, thread: str) -> None:
    page.goto(address(serving.server, thread, agentId="nobody"))
    expect(page.get_by_role("status")).to_contain_text("The server does not have this agent.")
    expect(page.get_by_label("Your message")).to_be_disabled()


def test_a_new_thread_is_empty_and_keeps_the_agent(serving: Serving, page: Page, thread: str) -> None:
    page.goto(address(serving.server, thread))
    say(page, "hi")
    answered(page)
    page.get_by_role("button", name="New thread").click()
    expect(page.locator("#empty")).to_be_visible()
    query = parse_qs(urlsplit(page.url).query)
    assert query["agentId"] == ["one"]
    assert query["threadId"] != [thread]
    assert page.locator(".turn").count() == 0
    expect(page.locator("#agent")).to_have_text("Agent one")


def test_a_page_without_a_thread_makes_one_and_names_it_in_its_address(serving: Serving, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{serving.server.port}/")
    expect(page.get_by_role("status")).to_have_text("Connected")
    assert re.fullmatch("[0-9a-f]{32}", parse_qs(urlsplit(page.url).query)["threadId"][0])
