"""The provider of the model, seen from its own side: each question over a socket, who asked it, and what was said.

A question is one line of JSON: `replica`, `thread`, `event` and `said`, the conversation. The answer comes as one line
of JSON a chunk, then `null`. What it says is `speech`, so an answer shows which conversation it was given.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct

from tests.checker.history import Call, Effect, Socket
from tests.graphs.speech import OPENING, option, speech

LONGEST_QUESTION: Final = 1 << 22


class Billed(Struct):
    """One call. Times in seconds since 1970."""

    replica: str
    thread_id: str
    event_id: str
    salt: str
    """Begins what is said in this call, and in no other."""
    at: float
    until: float
    """When it said the last word so far."""
    over: float = 0.0
    """When it was through, or nobody listened any more; 0: not yet."""
    wrote: str = ""
    answered: bool = False
    """Everything was said."""


class Provider:
    """`async with Provider() as provider:` answers at `provider.address()`."""

    def __init__(self, *hosts: str) -> None:
        """`hosts`: addresses to answer at, besides loopback."""
        self.calls: defaultdict[str, list[Billed]] = defaultdict(list)
        """By thread, in the order in which they came."""
        self._hosts = ("127.0.0.1", *hosts)
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[Any]] = set()

    def address(self, host: str = "127.0.0.1") -> str:
        assert self._server is not None
        names = [each.getsockname() for each in self._server.sockets]
        return next(f"{name[0]}:{name[1]}" for name in names if name[0] == host)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._hosts, 0, limit=LONGEST_QUESTION)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        try:
            if line := await reader.readline():
                await self._answer(json.loads(line), reader, writer)
        except (OSError, ValueError):
            pass  # who asked is gone, in the middle of a question or of its answer
        finally:
            writer.transport.abort()

    async def _answer(self, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now, conversation = time.time(), [(role, text) for role, text in asked["said"]]
        call = Billed(asked["replica"], asked["thread"], asked["event"], secrets.token_hex(5), now, now)
        self.calls[call.thread_id].append(call)
        saying = asyncio.ensure_future(self._say(call, conversation, writer))
        gone = asyncio.ensure_future(reader.read(1))  # who asked says nothing more, but ends
        try:
            await asyncio.wait({saying, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            call.over = time.time()
            saying.cancel()
            gone.cancel()
            await asyncio.gather(saying, gone, return_exceptions=True)

    async def _say(self, call: Billed, conversation: Sequence[tuple[str, str]], writer: asyncio.StreamWriter) -> None:
        pause_s = option(conversation, "pause", 0.02)
        for text in speech(conversation, call.salt):
            call.wrote += text  # before it is under way: what is shown was always written
            call.until = time.time()
            writer.write(json.dumps(text).encode() + b"\n")
            await writer.drain()
            await asyncio.sleep(pause_s)
        call.answered, call.until = True, time.time()
        writer.write(b"null\n")
        await writer.drain()


def attempts_of(sockets: Iterable[Socket], effects: Iterable[Effect]) -> dict[str, int]:
    """Salt → number of the attempt in which that call's words were shown or stored. A provider does not know it."""
    found: dict[str, int] = {}
    for socket in sockets:
        for line in socket.lines:
            if line.kind == "frame" and line.frame["type"] == "token":
                for opening in OPENING.finditer(line.frame["value"]):
                    found.setdefault(opening["salt"], line.frame["attempt"])
    for effect in effects:
        if "attempt" in effect.payload and effect.payload.get("text"):
            for opening in OPENING.finditer(effect.payload["text"]):
                found.setdefault(opening["salt"], effect.payload["attempt"])
    return found


def as_calls(billed: Sequence[Billed], attempts: Mapping[str, int]) -> list[Call]:
    """For the checker. A call whose words nobody was shown was an attempt of its own, whatever its number."""
    return [
        Call(
            call.thread_id,
            call.event_id,
            attempts.get(call.salt, -number),
            call.at,
            "answered" if call.answered else "lost",
            call.until,
            (call.wrote,),
            call.wrote if call.answered else None,
        )
        for number, call in enumerate(billed, 1)
    ]
