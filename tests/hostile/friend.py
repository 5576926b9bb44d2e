"""A well-behaved client in bad company: it says one thing after another and expects each answer, in order."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final
from urllib.parse import urlencode

from tests.end_to_end.view import View
from tests.hostile.owed import WrongAnswer
from tests.hostile.pipe import Pipe
from tests.hostile.service import Host
from tests.hostile.tally import Tally

PATIENCE_S: Final = 900.0
"""Virtual seconds."""
STAYS: Final = 12
"""Answers over one socket; then it comes back with where it stands."""


class Friend:
    def __init__(self, host: Host, tally: Tally, name: str, saying: str, *, alone: bool) -> None:
        """`name`: user and thread. `alone`: nobody else may speak in the thread, so each end is the very answer."""
        self.first = asyncio.Event()
        """Set when the thread is theirs."""
        self.done = False
        self.view = View(0)
        self._host = host
        self._tally = tally
        self._name = name
        self._saying = saying
        self._alone = alone
        self._news = asyncio.Event()
        self._own: set[str] = set()
        self._pipe: Pipe | None = None

    async def converse(self) -> None:
        """Until `done`. Raises WrongAnswer, or TimeoutError if an answer does not come."""
        said: list[str] = []
        while not self.done:
            query = urlencode({"threadId": self._name, "agentId": "demo", **self.view.resume()})
            pipe = self._pipe = Pipe(query.encode(), self._heard)
            self._own = set()
            self.view.opened(self._own)
            serving = asyncio.create_task(self._host.serve(pipe, self._name))
            for _ in range(STAYS):
                request = f"{self._name}-{len(said)}"
                said.append(request)
                await self._ask(pipe, request)
                await asyncio.sleep(0.3)
            pipe.leave()
            await serving
            if pipe.code is not None:
                raise WrongAnswer(f"{self._name} did nothing wrong and was closed with {pipe.code}")
        ends = [request for request in self.view.ends if request in said]
        if ends != said:
            raise WrongAnswer(f"{self._name} was answered {ends} for {said}")
        if self.view.faults:
            raise WrongAnswer(f"{self._name}: {self.view.faults}")

    async def _ask(self, pipe: Pipe, request: str) -> None:
        """Say one thing, again while it is refused for now, until its end is here."""
        content = f"{self._saying} {request}"
        self._own.add(request)
        async with asyncio.timeout(PATIENCE_S):
            while request not in self.view.ends:
                refused = len(self.view.refusals)
                if request not in self.view.receipts:
                    pipe.put(json.dumps({"type": "message", "requestId": request, "content": content}))
                while request not in self.view.ends and len(self.view.refusals) == refused:
                    self._news.clear()
                    await self._news.wait()
                if len(self.view.refusals) > refused:
                    self._refused(self.view.refusals[-1])
                    await asyncio.sleep(1.0)
        end = self.view.ends[request]
        if self._alone and (end["type"] != "final" or end["message"] != f"re: {content}!"):
            raise WrongAnswer(f"{self._name} was answered {end} for {content!r}")
        self.first.set()
        self._tally.answers += 1

    def _refused(self, frame: dict[str, Any]) -> None:
        if self._alone or frame["code"] not in ("queue_full", "busy", "too_fast"):
            raise WrongAnswer(f"{self._name} was refused: {frame}")

    def _heard(self, text: str) -> None:
        frame = json.loads(text)
        self.view.apply(frame)
        if frame["type"] == "final":
            cursor = frame["cursor"]
            assert self._pipe is not None
            self._pipe.put(json.dumps({"type": "ack", "cursor": cursor}))
        self._news.set()
