"""A client of the Agent Streaming Protocol at servers that die: its socket, or its stream of server-sent events, is
opened again with the last `seq` that it has, and a command that was not answered is given again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.crash.callers import PAUSE_S, Caller, Lost, events_in, said
from tests.end_to_end.client import PATIENCE_S

CHANNELS: Final = ("messages", "tools", "lifecycle", "input", "values", "updates", "checkpoints", "tasks", "custom")
OVER: Final = frozenset({"completed", "failed", "interrupted"})
Event = dict[str, Any]


class ProtocolClient:
    """`async with ProtocolClient(caller) as client:` follows the caller's thread, and gives commands in it."""

    def __init__(
        self, caller: Caller, *, channels: tuple[str, ...] = CHANNELS, over_http: bool = False, since: int | None = None
    ) -> None:
        self.events: list[Event] = []
        self._caller = caller
        self._channels = channels
        self._over_http = over_http
        self._before = since
        self._path = f"{caller.home}/stream/events"
        self._socket: ClientConnection | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._followed = ""
        """The run that was followed last."""
        self._heard_of = False
        """A subscription was confirmed."""
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._live())
        self._task.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        seqs = [event["seq"] for event in self.events]
        assert seqs == sorted(set(seqs)), f"told twice, or not in order: {seqs}"

    async def start(self, method: str, text: str = "", **params: Any) -> str:
        """A run, by `run.start` or `state.fork`, to its end as this client is told it; its mark."""
        mark = uuid4().hex
        if method == "run.start":
            params |= {"assistant_id": self._caller.agent, "metadata": {"mark": mark}}
        run = await self._accepted(method, params, mark, text)
        assert run is not None, f"{method} answers no question"
        await self.over(run)
        self._followed = run
        return mark

    def asked(self) -> list[str]:
        """Ids of the questions that the run asks which was started last."""
        asks = f"synth:{self._followed}:input||"
        return [event["params"]["data"]["interrupt_id"] for event in self.events if event["event_id"].startswith(asks)]

    async def respond(self, **params: Any) -> str | None:
        """Answer what was asked; the mark of the run that follows from it. None: it is not asked any more, and nobody
        has answered."""
        mark = uuid4().hex
        run = await self._accepted("input.respond", params | {"metadata": {"mark": mark}}, mark)
        if run is None:
            return None
        await self.over(run)
        return mark

    async def ask(self, method: str, **params: Any) -> Any:
        """A command that changes nothing; its result."""
        while True:
            with suppress(Lost):
                answer = await self.once(method, params)
                assert answer["type"] == "success", answer
                return answer["result"]
            await asyncio.sleep(PAUSE_S)

    async def once(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Its answer. Raises Lost."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        answer: dict[str, Any]
        if self._over_http:
            _, answer = await self._caller.once("POST", f"{self._caller.home}/commands", command)
            return answer
        await self.until_true(lambda: self._socket is not None)
        assert self._socket is not None
        future = self._answers[self._number] = asyncio.get_running_loop().create_future()
        with suppress(ConnectionClosed):  # then the answer is lost, too
            await self._socket.send(json.dumps(command))
        answer = await future
        return answer

    async def subscribed(self) -> None:
        await self.until_true(lambda: self._heard_of)

    async def over(self, run: str) -> None:
        """Until this client was told that the run has ended."""
        ends = f"synth:{run}:lc||"
        await self.until(lambda event: event["event_id"].startswith(ends) and event["params"]["data"]["event"] in OVER)

    async def until(self, holds: Callable[[Event], bool]) -> None:
        """An event came of which it holds."""
        await self.until_true(lambda: any(map(holds, self.events)))

    async def until_true(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                assert self._task is not None
                if self._task.done():
                    self._task.result()
                self._news.clear()
                await self._news.wait()

    def cut(self) -> None:
        if self._socket is not None:
            self._socket.transport.abort()

    async def _accepted(self, method: str, params: dict[str, Any], mark: str, text: str = "") -> str | None:
        """The run's id; who was not told looks whether it was accepted, before it asks again. None: there is nothing
        to answer."""
        while True:
            refused = ""
            given = {"input": said(text, mark)} if text else {}
            with suppress(Lost):
                answer = await self.once(method, params | given)
                if answer["type"] == "success":
                    run: str = answer["result"]["run_id"]
                    return run
                refused = answer["error"]
                assert refused in ("unknown_error", "no_such_interrupt"), answer  # lost, and answered since
            await asyncio.sleep(PAUSE_S)
            if found := await self._caller.marked(mark):
                return str(found[-1]["run_id"])
            if refused == "no_such_interrupt":
                return None

    async def _live(self) -> None:
        while True:
            with suppress(Lost):
                await self._caller.outliving(self._heard_in_a_stream() if self._over_http else self._heard())
            self._socket = None
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(Lost())
            self._answers.clear()
            await asyncio.sleep(PAUSE_S)

    def _since(self) -> dict[str, Any]:
        since = self.events[-1]["seq"] if self.events else self._before
        return {"channels": self._channels} | ({} if since is None else {"since": since})

    async def _heard(self) -> None:
        url = f"{self._caller.client.url}{self._path}"
        try:
            async with connect(url, proxy=None, compression=None, max_size=None, open_timeout=PATIENCE_S) as socket:
                subscribes = {"id": 0, "method": "subscription.subscribe", "params": self._since()}
                await socket.send(json.dumps(subscribes))
                self._socket = socket
                self._news.set()
                async for text in socket:
                    self._take(json.loads(text))
        except (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, TimeoutError):
            raise Lost from None

    async def _heard_in_a_stream(self) -> None:
        async with self._caller.opened("POST", self._path, self._since()) as response:
            async for one in events_in(response):
                self._take(one.data)

    def _take(self, told: dict[str, Any]) -> None:
        if told["type"] == "event":
            self.events.append(told)
        elif told["id"] == 0:
            self._heard_of = True
        elif (future := self._answers.pop(told["id"], None)) is not None and not future.done():
            future.set_result(told)
        self._news.set()
