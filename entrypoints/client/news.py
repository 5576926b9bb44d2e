"""The connection's state in words; the same words are not said twice in a row."""

from __future__ import annotations

import sys

from unbroken.entrypoints.client.connection import Status
from unbroken.entrypoints.client.screen import Screen


class News:
    """Told on the screen where a person watches it, else on stderr."""

    def __init__(self, screen: Screen, *, interactive: bool) -> None:
        self._screen = screen
        self._interactive = interactive
        self._last = ""
        self._lost = False
        self.state = "connecting"

    def tell(self, status: Status, why: str) -> None:
        self.state = {"waiting": "no connection, trying again"}.get(status, status)
        if status == "waiting":
            self._lost = True
            self._say(f"no connection ({why.partition(';')[0]}); trying again")
        elif status == "connected" and why:
            self._say(why)
        elif status == "connected" and self._lost:
            self._lost = False
            self._say("connected again")

    def _say(self, words: str) -> None:
        if words == self._last:
            return
        self._last = words
        if self._interactive:
            self._screen.note(f"· {words}")
            self._screen.ask()
        else:
            print(f"· {words}", file=sys.stderr, flush=True)
