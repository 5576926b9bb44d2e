"""I12: whoever dials and does not ask, or never stops asking, is hung up on; whoever is merely slow is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.hostile.raw import TEXT, Raw, framed, request
from unbroken.entrypoints.web import patience
from unbroken.entrypoints.web.patience import PatientHttp

LIMIT_S = 0.3
ASKED = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
PLAIN = b" HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = request(1, "").partition(b"?")[2]


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEADER_S", LIMIT_S)
    monkeypatch.setattr(patience, "BODY_S", LIMIT_S)


async def told(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """Answers with the body's length; a socket with what it is told."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await receive()
        return
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"%d" % length})


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    config = uvicorn.Config(told, http=PatientHttp, ws="websockets-sansio", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: PatientHttp(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def dripped(raw: Raw, data: bytes, *, times: int = 100, pause_s: float = LIMIT_S / 5) -> bytes:
    """What came back until the peer hung up, while `data` was sent so often. Raises TimeoutError."""
    async with asyncio.timeout(30):
        answer = asyncio.create_task(raw.reader.read())
        for _ in range(times):
            if answer.done():
                break
            raw.writer.write(data)
            await asyncio.sleep(pause_s)
        try:
            return await answer
        except ConnectionError:
            return b""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("begun", "drip"), [(b"", b""), (b"GET / HT", b""), (b"GET / HTTP/1.1\r\nX: ", b"x"), (b"", b"\r\n")]
)
async def test_a_header_that_does_not_end_is_hung_up_on(begun: bytes, drip: bytes) -> None:
    async with listening() as port, await Raw.dial(port) as raw:
        raw.writer.write(begun)
        assert await dripped(raw, drip) == b""


@pytest.mark.asyncio
async def test_line_ends_after_an_answer_do_not_keep_a_connection() -> None:
    async with listening() as port, await Raw.dial(port) as raw:
        raw.writer.write(ASKED + b"123456789")
        assert (await raw.reader.readuntil(b"\r\n\r\n9")).startswith(b"HTTP/1.1 200")
        assert await dripped(raw, b"\r\n") == b""


@pytest.mark.asyncio
async def test_a_header_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEADER_S", 1_000)
    async with listening() as port, await Raw.dial(port) as raw:
        raw.writer.write(b"GET / HTTP/1.1\r\n")
        answer = await dripped(raw, b"X: " + b"y" * 8_000 + b"\r\n", times=20, pause_s=0.001)
        assert answer.startswith(b"HTTP/1.1 400") or answer == b"", "empty: it was still writing"
    async with listening() as port, await Raw.dial(port) as raw:
        raw.writer.write(b"GET / HTTP/1.1\r\nX: " + b"y" * 60_000 + b"\r\n\r\n")
        assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"), "what is long and ends is taken"


@pytest.mark.asyncio
@pytest.mark.parametrize("target", [b"/?q=" + b"x" * 4_100, b"/" + b"x" * 4_100, b"/?a" + b"&a" * 40])
@pytest.mark.parametrize("socket", [False, True])
async def test_what_would_be_remembered_at_length_never_reaches_the_application(target: bytes, socket: bool) -> None:
    async with listening() as port, await Raw.dial(port) as raw:
        raw.writer.write(b"GET " + target[:50])  # the limit is on the whole of it, however it comes
        await asyncio.sleep(LIMIT_S / 5)
        raw.writer.write(target[50:] + (UPGRADE if socket else PLAIN))
        assert (await raw.reader.read()).startswith(b"HTTP/1.1 400")


@pytest.mark.asyncio
async def test_a_path_and_a_query_that_are_merely_long_are_taken() -> None:
    async with listening() as port, await Raw.dial(port) as raw:
        raw.writer.write(b"GET /" + b"x" * 2_000 + b"?" + b"x" * 2_000 + b"&a" * 30 + PLAIN)
        assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.asyncio
async def test_a_body_that_stops_is_hung_up_on_and_one_that_is_slow_is_taken() -> None:
    async with listening() as port:
        async with await Raw.dial(port) as raw:
            raw.writer.write(ASKED)
            assert await dripped(raw, b"1", times=3) == b""
        async with await Raw.dial(port) as raw:
            raw.writer.write(ASKED)
            for _ in range(9):
                raw.writer.write(b"1")
                await asyncio.sleep(LIMIT_S / 4)
            assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.asyncio
async def test_a_socket_that_says_nothing_for_long_stays_open() -> None:
    async with listening() as port, await Raw.upgraded(port, "") as raw:
        await asyncio.sleep(3 * LIMIT_S)
        raw.writer.write(framed(TEXT, b"still here"))
        assert await asyncio.wait_for(raw.reader.readexactly(12), 10) == b"\x81\x0astill here"


def test_the_server_is_patient_and_no_more() -> None:
    from unbroken.entrypoints.server import _config
    from unbroken.entrypoints.settings import Settings

    assert _config(Settings(), None).http is PatientHttp  # type: ignore[arg-type]
