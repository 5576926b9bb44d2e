"""Who talks in a campaign: the product's own client, and a stranger that follows the written protocol."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.checker.history import Socket, read_trace
from tests.crash.recorder import writer_to
from tests.end_to_end.client import Client
from tests.end_to_end.tables import StoredThread
from unbroken.entrypoints.client.backoff import Backoff
from unbroken.entrypoints.client.connection import ChatClient

PATIENCE_S = 100.0


class Talker(Protocol):
    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def say(self, text: str) -> str:
        """Send, however often it takes; returns the request id."""

    async def ended(self, request_id: str) -> None: ...

    def broken_laws(self, thread: StoredThread) -> list[str]: ...

    def sockets(self) -> list[Socket]:
        """What it sent and saw, for the checker."""


class ProductTalker:
    """The client that ships with the product; what it shows at the end is compared with the tables."""

    def __init__(self, url: str, thread: str, agent: str) -> None:
        self._client = ChatClient(url, thread, agent_id=agent, backoff=Backoff(cap_s=0.5))

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def say(self, text: str) -> str:
        return await self._client.send(text)

    async def ended(self, request_id: str) -> None:
        await self._client.ended(request_id, timeout=PATIENCE_S)

    def broken_laws(self, thread: StoredThread) -> list[str]:
        shown = [(turn.request_id, turn.text) for turn in self._client.conversation.turns]
        stored = [
            (event.request_id, effect.payload.get("text"))
            for event, effect in zip(thread.events, thread.log, strict=False)
        ]
        return [] if shown == stored else [f"the product's client shows {shown}, and stored is {stored}"]

    def sockets(self) -> list[Socket]:
        return []


class StrangerTalker:
    """The tests' own client, every frame of it written down, sent and received."""

    def __init__(self, url: str, thread: str, agent: str, file: Path) -> None:
        self._file = file
        self._writing = file.open("a", encoding="utf-8", buffering=1)
        self._client = Client(url, thread=thread, agent=agent, stays=True, record=writer_to(self._writing))

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.leave()
        self._writing.close()

    async def say(self, text: str) -> str:
        return await self._client.say(text)

    async def ended(self, request_id: str) -> None:
        await self._client.answered(request_id, patience_s=PATIENCE_S)

    def broken_laws(self, thread: StoredThread) -> list[str]:
        return self._client.view.faults

    def sockets(self) -> list[Socket]:
        return read_trace(self._file)
