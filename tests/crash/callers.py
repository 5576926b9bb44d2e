"""LangGraph's clients at servers that die: what was not answered is asked again, and what streamed goes on where it
was left. Beside a chat client of the same thread, which sees everything that they do.

A run that is started has no key of its caller's. So whoever does not know whether it was accepted looks for a mark in
its metadata first. Where a server stands still, that may be too early: it accepts what it has when it thaws, and what
was asked again stands in the thread twice, each time under ids of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import httpx
from msgspec import Struct, field

from tests.end_to_end.client import PATIENCE_S, Client

T = TypeVar("T")
PAUSE_S: Final = 0.05
MODES: Final = ("values", "messages-tuple", "updates")
MOST_RUNS: Final = 100


class Lost(Exception):
    """Nobody knows what has become of it."""


class Told(Struct, frozen=True):
    """A server-sent event."""

    event: str
    id: str
    data: Any


class Stream(Struct):
    """What a run, or a thread, has told, over as many responses as it took."""

    run: str | None = None
    told: list[Told] = field(default_factory=list)

    @property
    def last(self) -> dict[str, str]:
        """Headers of who comes back."""
        ids = [one.id for one in self.told if one.id]
        return {"Last-Event-ID": ids[-1]} if ids else {}

    def texts(self) -> dict[str, str]:
        """By message, what the chunks of the last attempt come to."""
        found: dict[str, str] = {}
        for one in self.told:
            if one.event == "metadata":
                found.clear()
            elif one.event == "messages":
                chunk = one.data[0]
                found[chunk["id"]] = found.get(chunk["id"], "") + chunk["content"]
        return found


class Caller:
    """`async with Caller(client) as caller:` calls the chat client's server, of its thread."""

    def __init__(self, client: Client, agent: str) -> None:
        self.client = client
        self.agent = agent
        self.home = f"/threads/{client.thread}"
        self.streams: list[Stream] = []
        """Of the runs that were followed."""
        self._http = httpx.AsyncClient(
            base_url=client.url.replace("ws", "http", 1), trust_env=False, verify=False, timeout=PATIENCE_S
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def once(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status, and the JSON. Raises Lost."""
        status, answer = await self.outliving(self._answer(method, path, body))
        if status >= 500:
            raise Lost(answer)
        return status, answer

    async def ask(self, method: str, path: str, body: Any = None, *, allowed: tuple[int, ...] = (200,)) -> Any:
        """Again until it is answered; its JSON."""
        while True:
            try:
                status, answer = await self.once(method, path, body)
            except Lost:
                await asyncio.sleep(PAUSE_S)
                continue
            assert status in allowed, f"{method} {path}: {status} {answer}"
            return answer

    async def outliving(self, asking: Coroutine[Any, Any, T]) -> T:
        """Raises Lost: the server has died; or it stands still, and the chat has hung up on it, and so do we."""
        closes = len(self.client.closes)
        task = asyncio.ensure_future(asking)
        cut = asyncio.ensure_future(self.client.until(lambda client: len(client.closes) > closes))
        try:
            await asyncio.wait({task, cut}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Lost
            return task.result()
        except httpx.HTTPError as error:
            raise Lost(repr(error)) from error
        finally:
            task.cancel()
            cut.cancel()
            await asyncio.gather(task, cut, return_exceptions=True)

    async def run(self, text: str = "", **asked: Any) -> str:
        """Start one, and read its stream to the end; its mark."""
        mark = uuid4().hex
        stream = Stream()
        self.streams.append(stream)
        path, method = f"{self.home}/runs/stream", "POST"
        while True:
            with suppress(Lost):
                await self.follow(stream, method, path, self._asking(text, mark, asked) if method == "POST" else None)
                if await self.ended(str(stream.run)):  # a server that stops ends its streams, too
                    return mark
            await asyncio.sleep(PAUSE_S)
            if stream.run is None and (found := await self.marked(mark)):
                stream.run = found[0]["run_id"]
            if stream.run is not None:
                method, path = "GET", f"{self.home}/runs/{stream.run}/stream"

    async def start(self, text: str = "", *, by: str = "runs", **asked: Any) -> str:
        """Start one, in the background or by a call that waits for it; its mark."""
        mark = uuid4().hex
        while True:
            try:
                status, answer = await self.once("POST", f"{self.home}/{by}", self._asking(text, mark, asked))
            except Lost:
                await asyncio.sleep(PAUSE_S)
            else:
                assert status == 200, answer
                return mark
            if found := await self.marked(mark):
                if by.endswith("wait"):
                    await self.ask("GET", f"{self.home}/runs/{found[0]['run_id']}/join")
                return mark

    async def runs(self) -> list[dict[str, Any]]:
        """All of the thread's, the first one first."""
        found = await self.ask("GET", f"{self.home}/runs?limit={MOST_RUNS}", allowed=(200, 404))
        return found[::-1] if isinstance(found, list) else []

    async def marked(self, mark: str) -> list[dict[str, Any]]:
        """Those that were started under a mark: one, or several if nobody told its caller of the first."""
        return [run for run in await self.runs() if holds(run, mark)]

    async def ended(self, run: str) -> bool:
        return (await self.ask("GET", f"{self.home}/runs/{run}"))["status"] not in ("pending", "running")

    async def values(self) -> dict[str, Any]:
        """The thread's state."""
        state: dict[str, Any] = await self.ask("GET", f"{self.home}/state")
        values: dict[str, Any] = state["values"]
        return values

    async def follow(
        self, stream: Stream, method: str, path: str, body: Any = None, *, most: int | None = None, since: str = ""
    ) -> None:
        """To the response's end, or for so many events. `since`: what stands for the last event of a stream that has
        told none. Raises Lost."""

        async def read() -> None:
            last = stream.last or ({"Last-Event-ID": since} if since else {})
            async with self.opened(method, path, body, last) as response:
                if stream.run is None and "content-location" in response.headers:
                    stream.run = response.headers["content-location"].rpartition("/")[2]
                count = 0
                async for one in events_in(response):
                    stream.told.append(one)
                    count += 1
                    if count == most:
                        return

        await self.outliving(read())

    @asynccontextmanager
    async def opened(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """A response that is read as it comes. For `outliving`."""
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", **(headers or {})}
        async with self._http.stream(method, path, content=content, headers=headers) as response:
            if response.status_code >= 500:
                raise Lost(response.status_code)
            assert response.status_code == 200, await response.aread()
            yield response

    def _asking(self, text: str, mark: str, asked: dict[str, Any]) -> dict[str, Any]:
        body = {"assistant_id": self.agent, "stream_mode": MODES, "if_not_exists": "create", **asked}
        if text:
            body["input"] = said(text, mark)
        return body | {"metadata": {"mark": mark}}

    async def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body)
        response = await self._http.request(method, path, content=content, headers={"Content-Type": "application/json"})
        return response.status_code, json.loads(response.content) if response.content.strip() else None


def holds(run: Mapping[str, Any], mark: str) -> bool:
    """Whether it was started under the mark: in its metadata, or in its message's id."""
    messages = (run["kwargs"]["input"] or {}).get("messages", ())
    return run["metadata"].get("mark") == mark or any(message["id"].startswith(f"said-{mark}") for message in messages)


def said(text: str, mark: str) -> dict[str, Any]:
    """An input with one message, whose id is another one each time."""
    return {"messages": [{"type": "human", "id": f"said-{mark}-{uuid4().hex}", "content": text}]}


async def events_in(response: httpx.Response) -> AsyncIterator[Told]:
    """Those that came whole."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if not line and "data" in fields:
            yield Told(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
        if not line:
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
