"""Who talks: conversations that speak now and then, over sockets that come and go, each frame of them written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec import Struct

from tests.crash.recorder import writer_to
from tests.end_to_end.client import Client

PATIENCE_S: Final = 120.0
"""What must come, has come by then; nothing is concluded from how long it took."""
RESTLESS_S: Final = 6.0
"""Who hears nothing for so long in the middle of an answer hangs up and asks elsewhere."""
PATIENT_S: Final = 15.0
"""The same of who only watches, who may be shown nothing but ends."""
OPENING_S: Final = 5.0


class Habits(Struct, frozen=True):
    """How people talk. Shares are from 0 to 1."""

    pause_s: tuple[float, float] = (8.0, 22.0)
    """Between two messages, at least and at most."""
    words: tuple[int, ...] = (6, 15, 15, 30, 80)
    word_pause_s: float = 0.05
    messages: tuple[int, int] = (3, 10)
    """Of one conversation."""
    watched: float = 0.25
    """Of conversations that somebody else watches, at another replica."""
    in_steps: float = 0.15
    """Of conversations with an agent of several nodes, which are never cancelled."""
    two_at_once: float = 0.1
    cancels: float = 0.08
    leaves: float = 0.12
    """Whoever is in the middle of an answer breaks their connection and comes back at another replica."""


class Roaming(Client):
    """Never comes back to the replica that it was at, if there is another one."""

    def __init__(self, urls: Sequence[str], random: Random, *, apart_from: Roaming | None = None, **given: Any) -> None:
        """`urls` may change while it lives. `apart_from`: somebody whose replica it avoids."""
        super().__init__(random.choice(urls), stays=True, open_timeout_s=OPENING_S, **given)
        self._urls = urls
        self._random = random
        self._apart_from = apart_from
        self._restless_s = RESTLESS_S if apart_from is None else PATIENT_S
        self._tried = ""

    async def _once(self) -> None:
        avoided = {self._tried, self._apart_from.url if self._apart_from else ""}
        self._tried = self._random.choice([url for url in self._urls if url not in avoided] or list(self._urls))
        self.moves_to(self._tried)
        await super()._once()

    async def hears_all(self, *requests: str) -> None:
        """Until these have ended here, over as many sockets as it takes. Raises AssertionError."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._knows(requests):
            left = [request for request in requests if request not in self.view.ends]
            assert time.monotonic() < deadline, f"{self.thread}: {left} have not ended after {PATIENCE_S} s"
            try:
                await self.until(self._heard_more(requests), patience_s=self._restless_s)
            except AssertionError:
                self.cut()

    def _heard_more(self, requests: Sequence[str]) -> Callable[[Client], bool]:
        heard = len(self.view.frames)
        return lambda client: len(client.view.frames) > heard or self._knows(requests)

    def _knows(self, requests: Sequence[str]) -> bool:
        return all(request in self.view.ends for request in requests)


class Person:
    """Has one conversation after another; `broken` is what went wrong as they see it."""

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        folder: Path,
        random: Random,
        habits: Habits,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.threads: list[str] = []
        self.watched: list[str] = []
        """Of these, the ones with a second client."""
        self.messages = 0
        self.broken: list[str] = []
        self._name = name
        self._urls = urls
        self._folder = folder
        self._random = random
        self._habits = habits
        self._headers = headers or {}

    async def talk(self, over: asyncio.Event) -> None:
        """Until it is over; the conversation under way is brought to its end."""
        await self._pause(over, self._random.uniform(0.0, self._habits.pause_s[1]))
        while not over.is_set():
            thread = f"{self._name}-{len(self.threads)}"
            self.threads.append(thread)
            try:
                await self._converse(thread, over)
            except AssertionError as error:
                self.broken.append(f"{thread}: {error}")
            except ExceptionGroup as errors:
                self.broken += [f"{thread}: {error!r}" for error in errors.exceptions]

    def trace(self, thread: str, *, watcher: bool = False) -> Path:
        return self._folder / f"{thread}{'.watcher' if watcher else ''}.jsonl"

    @asynccontextmanager
    async def _client(self, thread: str, agent: str, apart_from: Roaming | None) -> AsyncIterator[Roaming]:
        with self.trace(thread, watcher=apart_from is not None).open("a", encoding="utf-8", buffering=1) as file:
            client = Roaming(
                self._urls,
                Random(self._random.getrandbits(64)),
                apart_from=apart_from,
                thread=thread,
                agent=agent,
                headers=self._headers,
                record=writer_to(file),
            )
            async with client:
                yield client
        self.broken += [f"{thread}: {fault}" for fault in client.view.faults]

    async def _converse(self, thread: str, over: asyncio.Event) -> None:
        agent = "three" if self._random.random() < self._habits.in_steps else "billed"
        async with AsyncExitStack() as stack:
            speaker = await stack.enter_async_context(self._client(thread, agent, None))
            listeners = [speaker]
            if self._random.random() < self._habits.watched:
                self.watched.append(thread)
                listeners.append(await stack.enter_async_context(self._client(thread, agent, speaker)))
            for _ in range(self._random.randint(*self._habits.messages)):
                requests = await self._exchange(speaker, agent)
                for listener in listeners:
                    await listener.hears_all(*requests)
                await self._pause(over, self._random.uniform(*self._habits.pause_s))
                if over.is_set():
                    return

    async def _exchange(self, speaker: Roaming, agent: str) -> list[str]:
        requests = [await self._say(speaker)]
        if self._random.random() < self._habits.two_at_once:
            requests.append(await self._say(speaker))
        mood = self._random.random()
        if agent == "billed" and mood < self._habits.cancels:  # the nodes of others count on each other's notes
            await asyncio.sleep(self._random.uniform(0.0, 1.0))
            await speaker.cancel(requests[0])
        elif mood > 1.0 - self._habits.leaves:
            await asyncio.sleep(self._random.uniform(0.1, 1.0))
            speaker.cut()
        return requests

    async def _say(self, speaker: Roaming) -> str:
        self.messages += 1
        words = self._random.choice(self._habits.words)
        return await speaker.say(f"{self.messages} words={words} pause={self._habits.word_pause_s}")

    async def _pause(self, over: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await over.wait()
        except TimeoutError:
            pass
