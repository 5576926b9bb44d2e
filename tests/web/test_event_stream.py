"""How a body that comes in pieces ends: by itself, with its reader, or with whoever may not stay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from litestar.types import Message

from tests.application.virtual_time import virtual
from unbroken.domain.errors import StoreUnavailable
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.event_stream import HEARTBEAT_S, Streamed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.open_connections import Look, OpenConnections

STALL_S, ASK_S = 30.0, 60.0
PATIENCE_S = 1_000.0
"""Of virtual time."""
END = {"type": "http.response.body", "body": b"", "more_body": False}


class Response:
    """One response and its reader, who takes everything at once until told otherwise."""

    def __init__(self, *, until: float = inf, look: Look | None = None, stopping: bool = False) -> None:
        settings = SimpleNamespace(reader_stall_s=STALL_S, ask_again_s=ASK_S)
        service: Any = SimpleNamespace
        self.connections = OpenConnections(service(stopping=stopping, settings=settings))
        self.until, self.look = until, look
        self.written: list[Message] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.gone = asyncio.Event()
        self.happened: list[str] = []

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.written).decode()  # type: ignore[misc]

    @property
    def ended(self) -> bool:
        return END in self.written

    async def send(self, message: Any) -> None:
        assert not self.ended, "something was sent behind the end"
        await self.takes.wait()
        self.written.append(message)

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def left(self) -> None:
        self.happened.append("left")

    async def told(self, body: AsyncGenerator[bytes, None]) -> float:
        """Until the response is over; returns how many seconds that took. What is open then is closed."""
        began = asyncio.get_running_loop().time()
        watch = asyncio.create_task(self.connections.close_stalled_forever())
        streamed = Streamed(
            body,
            self.connections,
            headers={"content-type": "text/plain"},
            idle=b".",
            until=self.until,
            looks=lambda _: self.look,
            closed=lambda: self.happened.append("closed"),
            left=self.left,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                await streamed({"type": "http", "headers": []}, self.receive, self.send)  # type: ignore[arg-type]
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        assert len(self.connections) == 0
        return asyncio.get_running_loop().time() - began


async def pieces(*texts: str, every_s: float = 0.0, then: Callable[[], Awaitable[object]] | None = None) -> Any:
    for text in texts:
        await asyncio.sleep(every_s)
        yield text.encode()
    if then is not None:
        await then()


async def for_ever() -> Any:
    await asyncio.Event().wait()
    yield b""


@virtual
async def test_a_body_that_ends_is_properly_ended() -> None:
    response = Response()
    await response.told(pieces("one ", "two"))
    assert response.written[0] == {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/plain")],
    }
    assert (response.text, response.ended, response.happened) == ("one two", True, ["closed"])


@virtual
async def test_silence_is_filled_and_nothing_else() -> None:
    response = Response()
    await response.told(pieces("one", "two", every_s=2.2 * HEARTBEAT_S))
    assert response.text == "..one..two"
    response = Response()
    await response.told(pieces(*"abcd", every_s=0.9 * HEARTBEAT_S))
    assert response.text == "abcd"


@virtual
async def test_a_reader_who_takes_nothing_is_ended_and_counts_as_gone() -> None:
    """In mid-body, and where nothing but heartbeats is written."""
    for body in (pieces(*"abc", every_s=1.0), for_ever()):
        response = Response()
        asyncio.get_running_loop().call_later(0.5, response.takes.clear)
        seconds = await response.told(body)
        assert STALL_S <= seconds <= STALL_S + HEARTBEAT_S + 2
        assert (response.text, response.ended, response.happened) == ("", False, ["closed", "left"])


@virtual
async def test_a_reader_who_does_not_take_the_end_is_ended_too_and_missed_by_nobody() -> None:
    response = Response()

    async def full() -> None:
        response.takes.clear()

    assert STALL_S <= await response.told(pieces("all", then=full)) <= STALL_S + 2
    assert (response.text, response.ended, response.happened) == ("all", False, ["closed"])


@virtual
async def test_a_slow_reader_is_not_a_stalled_one() -> None:
    response = Response()
    loop = asyncio.get_running_loop()
    for second in range(0, 200, 20):
        loop.call_later(second, response.takes.clear)
        loop.call_later(second + 19.5, response.takes.set)
    await response.told(pieces(*"abcdefgh", every_s=19.0))
    assert (response.text.replace(".", ""), response.ended) == ("abcdefgh", True)


@virtual
async def test_whoever_leaves_has_left_and_the_body_is_closed() -> None:
    response = Response()
    closed = []

    async def body() -> Any:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    asyncio.get_running_loop().call_later(1, response.gone.set)
    assert await response.told(body()) == 1
    assert (response.text, response.ended, response.happened, closed) == ("one", False, ["closed", "left"], [True])


@virtual
async def test_the_body_is_closed_where_it_waits_for_its_reader_too() -> None:
    response = Response()
    closed = []

    async def body() -> Any:
        try:
            response.takes.clear()
            yield b"one"
        finally:
            closed.append(True)

    asyncio.get_running_loop().call_later(1, response.gone.set)
    await response.told(body())
    assert (response.happened, closed) == (["closed", "left"], [True])


@virtual
async def test_a_server_that_stops_breaks_it_off_and_expects_the_reader_again() -> None:
    response = Response()
    asyncio.get_running_loop().call_later(1, response.connections.send_away)
    assert await response.told(for_ever()) == 1
    assert (response.ended, response.happened) == (False, ["closed"])


@virtual
async def test_who_comes_when_the_server_stops_is_told_where_and_then_sent_away() -> None:
    """The run was accepted: its reader needs the headers to find it again."""
    response = Response(stopping=True)
    assert await response.told(for_ever()) == 0
    assert response.written[0]["type"] == "http.response.start"
    assert (response.ended, response.happened) == (False, ["closed"])


@virtual
async def test_it_ends_with_its_users_time() -> None:
    response = Response(until=time.time() + 7)
    assert 6 < await response.told(for_ever()) <= 7
    assert (response.ended, response.happened) == (False, ["closed", "left"])


@virtual
async def test_it_ends_when_the_rules_let_nobody_look_on_and_not_when_they_cannot_be_asked() -> None:
    answers: list[Exception | None] = [
        None,
        StoreUnavailable("away"),
        Closed(CloseCode.NOT_YOUR_THREAD, "not any more"),
    ]

    async def look() -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    response = Response(look=look)
    assert await response.told(for_ever()) == 3 * ASK_S
    assert (response.ended, response.happened, answers) == (False, ["closed", "left"], [])


@virtual
async def test_what_is_refused_on_the_way_breaks_it_off_and_a_defect_is_told() -> None:
    async def fails(error: Exception) -> None:
        raise error

    response = Response()
    await response.told(pieces("one", then=lambda: fails(StoreUnavailable("away"))))
    assert (response.text, response.ended, response.happened) == ("one", False, ["closed"])
    response = Response()
    with pytest.raises(ZeroDivisionError):
        await response.told(pieces("one", then=lambda: fails(ZeroDivisionError())))
    assert (response.ended, response.happened) == (False, ["closed"])
