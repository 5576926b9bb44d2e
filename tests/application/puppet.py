"""An agent that says what it is told, when it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from tests.application.world import KEY, Node
from unbroken.domain.errors import AgentRaised
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.session import SessionKey

Order = Callable[[Attempt], None]

SETTLE_S = 0.2
"""Longer than any pause between the steps of a turn, shorter than a retry's."""


class Finished(Exception):
    """The answer is complete."""


class Puppet:
    def __init__(self, node: Node, key: SessionKey = KEY) -> None:
        self.node = node
        self._key = key
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self.text = ""
        """What the running attempt has said."""
        node.agent.script = self._obey

    async def say(self, text: str, message_id: str = "m") -> None:
        def say(attempt: Attempt) -> None:
            self.text += text
            attempt.text(message_id, text)

        await self._do(say)

    async def tool(self, call: str) -> None:
        await self._do(lambda attempt: attempt.tool(call, "search", "started"))

    async def step(self, data: bytes) -> None:
        await self._do(lambda attempt: attempt.step("custom", (), data))

    async def think(self, text: str, message_id: str = "m") -> None:
        said = msgspec.json.encode({"messageId": message_id, "text": text})
        await self._do(lambda attempt: attempt.step("reasoning", (), said))

    async def finish(self) -> None:
        def end(attempt: Attempt) -> None:
            raise Finished

        await self._do(end)

    async def fail(self, *, retryable: bool) -> None:
        def end(attempt: Attempt) -> None:
            raise AgentRaised("no", retryable=retryable)

        await self._do(end)

    @property
    def speaking(self) -> bool:
        return self.node.agent.running > 0

    async def _do(self, order: Order) -> None:
        self._orders.put_nowait(order)
        await asyncio.sleep(SETTLE_S)

    async def _obey(self, attempt: Attempt) -> str:
        self.text = ""
        while True:
            order = await self._orders.get()
            try:
                order(attempt)
            except Finished:
                return self.text
