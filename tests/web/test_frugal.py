"""I12: an idle socket takes little memory, and one that has ended none, without a search for cycles."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from random import Random

import pytest
import uvicorn
from litestar import WebSocket
from websockets.server import ServerProtocol

from benchmarks.direct import app as direct
from tests.hostile.attacks import ATTACKS, Target
from tests.hostile.raw import MORE, TEXT, Raw, framed, request
from unbroken.application.subscribe import Subscription
from unbroken.entrypoints.server import _config, agent_graphs
from unbroken.entrypoints.service import running
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.web.app import create_app
from unbroken.entrypoints.web.connection import Connection
from unbroken.entrypoints.web.frugal import Door, FrugalSocket, Inbox
from unbroken.entrypoints.web.guard import guard_of
from unbroken.entrypoints.web.patience import PatientHttp

OF_A_SOCKET = (Connection, FrugalSocket, PatientHttp, ServerProtocol, Subscription, WebSocket)
TIMES = 8
"""Of each attack: they choose among what they do."""
IDLE = 100
WARM = 10
CHAT = "/api/chat/ws"


class Quiet(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


@asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[int]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = Quiet(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            assert not task.done()
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


def ours() -> uvicorn.Config:
    settings = Settings(in_memory=True, reader_stall_s=1)
    graphs = agent_graphs(settings)
    return _config(
        settings, create_app(lambda: running(settings, None, graphs, on_lost=lambda: None), guard_of(settings))
    )


def theirs() -> uvicorn.Config:
    return uvicorn.Config(
        direct("memory"), ws="websockets-sansio", ws_per_message_deflate=False, log_config=None, access_log=False
    )


def theirs_with_our_sockets() -> uvicorn.Config:
    config = theirs()
    config.http, config.ws = PatientHttp, FrugalSocket
    return config


@pytest.fixture(autouse=True)
def nobody_keeps_log_records() -> Iterator[None]:
    """As pytest does, and with them the frames of exceptions."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # what is there already need not be looked through each time
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


async def held() -> list[str]:
    """What is left of sockets once they have had time to go."""
    left: list[str] = []
    for _ in range(100):
        left = [type(thing).__name__ for thing in gc.get_objects() if type(thing) in OF_A_SOCKET]
        if not left:
            break
        await asyncio.sleep(0.05)
    return left


@pytest.mark.asyncio
async def test_nothing_of_a_socket_waits_for_the_collector_however_it_ended() -> None:
    left = {}
    async with serving(ours()) as port:
        target = Target(port, Random(5), 0.2, ["beside"])
        with no_search_for_cycles():
            for attack in ATTACKS:
                await asyncio.gather(*(attack(target) for _ in range(TIMES)), return_exceptions=True)
                left[attack.__name__] = await held()
    assert left == {attack.__name__: [] for attack in ATTACKS}


WHOLE = request(1, "threadId=x").replace(b"127.0.0.1:1", b"127.0.0.1")
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
REFUSED = {
    b"400": (
        WHOLE.replace(KEY, b"X: y"),
        WHOLE.replace(KEY, KEY[:-3]),
        WHOLE.replace(KEY, KEY + b"\r\n" + KEY),
        WHOLE.replace(b"Sec-WebSocket-Version: 13", b"X: y"),
        WHOLE.replace(b"13\r\n", b"99\r\n"),
        WHOLE[:-2] + b"Origin: http://127.0.0.1\r\n" * 2 + b"\r\n",
    ),
    b"405": (WHOLE.replace(b"GET", b"POST"),),
    b"431": (
        WHOLE[:-2] + b"X: " + b"y" * 9_000 + b"\r\n\r\n",
        WHOLE[:-2] + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n",
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize(("status", "handshake"), [(status, one) for status in REFUSED for one in REFUSED[status]])
async def test_whoever_is_not_let_in_is_told_so_and_leaves_nothing(status: bytes, handshake: bytes) -> None:
    async with serving(theirs_with_our_sockets()) as port:
        with no_search_for_cycles():
            async with await Raw.dial(port) as raw, asyncio.timeout(10):
                await raw.put(handshake)
                answer = await raw.reader.read()
            assert answer.startswith(b"HTTP/1.1 " + status)
            del raw
            assert await held() == []


@pytest.mark.asyncio
async def test_a_message_s_empty_pieces_are_not_kept() -> None:
    async with serving(theirs_with_our_sockets()) as port, await Raw.upgraded(port, "threadId=x", path="/ws") as raw:
        await raw.put(framed(TEXT, b"x", last=False) + framed(MORE, b"", last=False) * 1_000)
        await asyncio.sleep(0.2)
        (protocol,) = (thing for thing in gc.get_objects() if type(thing) is FrugalSocket)
        assert len(protocol.frames) == 1


async def connected(sockets: int) -> None:
    for _ in range(200):
        if sum(type(thing) is Connection for thing in gc.get_objects()) == sockets:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not everyone is connected")


async def of_an_idle_socket(config: uvicorn.Config, path: str) -> float:
    """Bytes, the client's own included, which are the same whoever serves it."""
    async with serving(config) as port, AsyncExitStack() as stack:
        for number in range(WARM):  # what the first ones make, every later one finds made
            await stack.enter_async_context(await Raw.upgraded(port, f"threadId=warm-{number}", path=path))
        await asyncio.sleep(0.1)
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(IDLE):
                await stack.enter_async_context(await Raw.upgraded(port, f"threadId=idle-{number}", path=path))
            if path == CHAT:
                await connected(IDLE + WARM)
            gc.collect()
            traced_bytes = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    return traced_bytes / IDLE


@pytest.mark.asyncio
async def test_an_idle_socket_takes_no_more_memory_than_one_of_the_direct_send() -> None:
    direct_bytes = await of_an_idle_socket(theirs(), "/ws")
    assert await of_an_idle_socket(ours(), CHAT) <= direct_bytes


@pytest.mark.asyncio
async def test_what_comes_is_read_in_its_order_by_a_reader_that_waits_and_by_one_that_comes_later() -> None:
    inbox, read = Inbox(), list[int]()

    async def reader() -> None:
        while True:
            read.append(await inbox.get())

    gone = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    inbox.put_nowait(1)
    inbox.put_nowait(2)
    assert not inbox.empty()
    task = asyncio.create_task(reader())
    await asyncio.sleep(0)
    assert (read, inbox.empty()) == ([1, 2], True)
    for number in (3, 4):
        inbox.put_nowait(number)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert read == [1, 2, 3, 4]
    task.cancel()


@pytest.mark.asyncio
async def test_who_comes_to_a_closed_door_waits_until_it_is_open() -> None:
    door = Door()
    await door.wait()
    door.clear()
    waiting = [asyncio.create_task(door.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    door.clear()
    assert not any(task.done() for task in waiting)
    door.set()
    await asyncio.gather(*waiting)
    door.set()
    await door.wait()
