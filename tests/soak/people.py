"""Who talks: conversations of a few turns, one after another, each frame of them written down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from msgspec import Struct

from tests.checker.history import ENDS, Socket, read_trace
from tests.crash.recorder import writer_to
from tests.end_to_end.client import Client

AGENTS: Final = ("one", "one", "three", "turn")
WORDS: Final = (5, 15, 40)
PATIENCE_S: Final = 120.0


class Latency(Struct, frozen=True):
    """Seconds from a message on; None: it never came on this client's sockets."""

    said_at: float
    """Seconds since 1970."""
    accepted_s: float | None
    first_text_s: float | None
    end_s: float | None


class Person:
    def __init__(self, name: str, urls: list[str], folder: Path, random: Random) -> None:
        self.threads: list[str] = []
        self.messages = 0
        self._name = name
        self._urls = urls
        self._folder = folder
        self._random = random

    async def talk(self, over: asyncio.Event) -> None:
        """Until it is over; the conversation under way is brought to its end."""
        while not over.is_set():
            thread = f"{self._name}-{len(self.threads)}"
            self.threads.append(thread)
            with self._file(thread).open("a", encoding="utf-8", buffering=1) as file:
                agent, url = self._random.choice(AGENTS), self._random.choice(self._urls)
                client = Client(url, thread=thread, agent=agent, stays=True, record=writer_to(file))
                async with client:
                    await self._converse(client, agent, over)

    async def _converse(self, client: Client, agent: str, over: asyncio.Event) -> None:
        for _ in range(self._random.choice((3, 6, 12))):
            requests = [await self._say(client)]
            if self._random.random() < 0.2:
                requests.append(await self._say(client))
            if agent == "one" and self._random.random() < 0.2:  # the others' nodes count on each other's notes
                await asyncio.sleep(self._random.random() * 0.2)
                await client.cancel(requests[0])
            await client.answered(*requests, patience_s=PATIENCE_S)
            if over.is_set():
                return
            await asyncio.sleep(self._random.random() * 0.5)

    async def _say(self, client: Client) -> str:
        self.messages += 1
        return await client.say(f"soak {self.messages} words={self._random.choice(WORDS)} pause=0.01")

    def sockets(self, thread: str) -> list[Socket]:
        return read_trace(self._file(thread))

    def latencies(self) -> Iterator[Latency]:
        for thread in self.threads:
            yield from latencies_of(self.sockets(thread))

    def _file(self, thread: str) -> Path:
        return self._folder / f"{thread}.jsonl"


def latencies_of(sockets: list[Socket]) -> Iterator[Latency]:
    """Of each message of one client, over as many sockets as it took."""
    said: dict[str, float] = {}
    seen: dict[str, dict[str, float]] = {}
    for line in (line for socket in sockets for line in socket.lines):
        request = line.frame.get("requestId", "")
        if line.kind == "sent" and line.frame["type"] == "message":
            said.setdefault(request, line.at)
        elif line.kind == "frame" and request in said:
            kind = "end" if line.frame["type"] in ENDS and "cursor" in line.frame else line.frame["type"]
            seen.setdefault(request, {}).setdefault(kind, line.at - said[request])
    for request, at in said.items():
        times = seen.get(request, {})
        yield Latency(at, times.get("accepted"), times.get("token"), times.get("end"))
