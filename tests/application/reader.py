"""A client's view of a subscription, kept by the protocol's rules, and the rules themselves as assertions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from unbroken.application.deliveries import (
    Delivery,
    ShowGap,
    ShowLogged,
    ShowReset,
    ShowStep,
    ShowText,
    ShowTool,
    ShowUser,
)
from unbroken.application.subscribe import Shown, Subscription
from unbroken.domain.effects import LogEntry
from unbroken.domain.stream_parts import ToolPart
from unbroken.domain.utf16 import units


class Reader:
    """Applies what it is given; raises AssertionError at the first thing that a client may not be sent."""

    def __init__(self, subscription: Subscription, shown: Shown | None = None, text: str = "") -> None:
        self.subscription = subscription
        self.cursor = subscription.cursor
        self.log: list[LogEntry] = []
        self.users: list[str] = []
        self.seen: list[Delivery] = []
        self.tools: dict[str, ToolPart] = {}
        self.running = shown.request_id if shown else ""
        self.attempt = shown.attempt if shown else 0
        self.text = text
        self.gaps: list[ShowGap] = []
        self._finished: dict[str, str] = {}

    async def take(self) -> list[Delivery]:
        found = await self.subscription.next()
        for item in found:
            self._apply(item)
        return found

    async def follow_to(self, cursor: int, *, limit_s: float = 60.0) -> None:
        async with asyncio.timeout(limit_s):
            while self.cursor < cursor:
                await self.take()

    async def drain(self) -> None:
        """Everything there is at this moment."""
        while True:
            self.subscription.interrupt()
            if not await self.take():
                return

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Meanwhile this reader keeps up."""

        async def forever() -> None:
            while True:
                await self.take()

        task = asyncio.create_task(forever())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.drain()

    def close(self) -> None:
        self.subscription.close()

    def texts(self) -> dict[str, str]:
        """What was streamed for each request, as it stood when its end came."""
        return self._finished

    def _apply(self, item: Delivery) -> None:
        self.seen.append(item)
        match item:
            case ShowUser(event):
                assert event.request_id not in self.users, "shown twice"
                self.users.append(event.request_id)
            case ShowGap(cursor):
                self.gaps.append(item)
                self.cursor = cursor
            case ShowLogged(entry):
                assert entry.log_index == self.cursor + 1, f"{entry.log_index} after {self.cursor}"
                self._known(entry.event.request_id, entry.event.from_user)
                self.cursor = entry.log_index
                self.log.append(entry)
                if entry.event.request_id == self.running:
                    self._finished[self.running] = self.text
                    self.running, self.text = "", ""
            case ShowReset(request_id, attempt):
                self._known(request_id, True)
                assert attempt > self.attempt or (attempt == self.attempt and item.reason == "resync"), "attempt fell"
                self.running, self.attempt, self.text, self.tools = request_id, attempt, "", {}
            case ShowText(request_id, attempt, part):
                assert (request_id, attempt) == (self.running, self.attempt), "text without a reset"
                assert part.offset == units(self.text), f"offset {part.offset} after {units(self.text)}"
                self.text += part.text
            case ShowTool(request_id, attempt, tool):
                assert (request_id, attempt) == (self.running, self.attempt), "a tool without a reset"
                self.tools[tool.tool_call_id] = tool
            case ShowStep(request_id, attempt):
                assert (request_id, attempt) == (self.running, self.attempt), "a step without a reset"

    def _known(self, request_id: str, from_user: bool) -> None:
        timer = request_id.startswith("timer:")
        assert timer or not from_user or request_id in self.users, "something of an event came before its user"
