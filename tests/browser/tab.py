"""A tab of the page in the words of the person before it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.end_to_end.server import Server

PATIENCE_MS = 30_000
SOCKET = re.compile("/api/chat/ws")


class Tab:
    def __init__(self, page: Page, server: Server, thread: str, *, agent: str = "talker", user: str = "local") -> None:
        self.page = page
        self.server = server
        self.thread = thread
        self._query = {"threadId": thread, "agentId": agent, "userId": user}

    def address(self, **more: str) -> str:
        return f"http://127.0.0.1:{self.server.port}/?{urlencode(self._query | more)}"

    def open(self, **more: str) -> None:
        self.page.goto(self.address(**more))
        expect(self.connection).to_have_text("Connected")

    def another(self) -> Tab:
        """Another tab of the same browser, at the same place."""
        other = Tab(self.page.context.new_page(), self.server, self.thread)
        other._query = dict(self._query)
        other.open()
        return other

    @property
    def connection(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def box(self) -> Locator:
        return self.page.get_by_label("Your message", exact=True)

    @property
    def turns(self) -> Locator:
        return self.page.locator(".turn")

    @property
    def title(self) -> Locator:
        return self.page.get_by_role("heading", level=1)

    @property
    def list(self) -> Locator:
        return self.page.get_by_role("navigation", name="Conversations")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def say(self, text: str) -> None:
        self.box.fill(text)
        self.box.press("Enter")

    def turn(self, number: int = 1) -> Locator:
        return self.turns.nth(number - 1)

    def said(self, number: int = 1) -> Locator:
        return self.turn(number).get_by_label("You said")

    def answer(self, number: int = 1) -> Locator:
        return self.turn(number).get_by_label("Answer", exact=True)

    def state(self, number: int = 1) -> Locator:
        return self.turn(number).locator(".state")

    def ended(self, number: int = 1, phase: str = "answered") -> str:
        """The text of a turn that has reached its end."""
        expect(self.turn(number)).to_have_attribute("data-phase", phase)
        return self.text(number)

    def begun(self, number: int = 1, letters: int = 30) -> str:
        """The text of a turn once it has grown to some length."""
        expect(self.answer(number)).to_have_text(re.compile(f".{{{letters},}}", re.DOTALL))
        return self.text(number)

    def text(self, number: int = 1) -> str:
        answer = self.answer(number)
        return (answer.text_content() or "").strip() if answer.count() else ""

    def until(self, holds: Callable[[], bool]) -> None:
        """For what the page does not show."""
        for _ in range(PATIENCE_MS // 50):
            if holds():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("it never came to be")

    def hear(self, *frames: dict[str, Any]) -> None:
        """Be the server's side of the page's next sockets, and say only this."""

        def route(socket: WebSocketRoute) -> None:
            for frame in frames:
                socket.send(json.dumps(frame))

        self.page.route_web_socket(SOCKET, route)


def user(request_id: str, seq: int, content: Any = "hi") -> dict[str, Any]:
    at = "2026-11-01T00:00:00Z"
    return {"type": "user", "requestId": request_id, "seq": seq, "createdAt": at, "content": content}


def final(request_id: str, cursor: int, message: str, **more: Any) -> dict[str, Any]:
    frame = {"type": "final", "requestId": request_id, "cursor": cursor, "message": message, "content": []}
    return frame | {"attempt": cursor, "latencyMs": 5, "origin": "user", "waiting": False, "revised": False} | more
