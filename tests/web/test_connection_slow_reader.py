"""I12: a reader that takes nothing costs little and is closed; nobody else notices."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server

LONG = "words=20000 pause=0"
"""More than every buffer on the way holds."""


async def close_code_after(server: Server, thread: str, idle_s: float) -> tuple[int | None, int]:
    """Connect, read nothing for a while, then everything: the code of the close, and how many bytes came before."""
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    tcp.connect(("127.0.0.1", server.port))
    tcp.setblocking(False)
    url = f"{server.url}/api/chat/ws?threadId={thread}&cursor=0"
    received = 0
    async with connect(url, sock=tcp, proxy=None, compression=None, max_queue=1, max_size=None) as reader:
        await reader.send(json.dumps({"type": "message", "requestId": f"{idle_s}", "content": LONG}))
        async with Client(server.url, thread=thread) as bystander:
            await bystander.answered(f"{idle_s}")
            assert bystander.view.faults == []
        await asyncio.sleep(idle_s)
        try:
            while True:
                received += len(await asyncio.wait_for(reader.recv(), 5))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None, received
        except TimeoutError:
            return None, received


@pytest.mark.asyncio
async def test_a_reader_that_takes_nothing_is_closed_with_1013_and_held_little_of_the_server(
    memory_server: Server, thread: str
) -> None:
    code, received = None, 0
    for idle_s in (2.0, 4.0, 8.0, 16.0):  # a busy machine may notice late; what it does then is certain
        code, received = await close_code_after(memory_server, thread, idle_s)
        if code is not None:
            break
    assert code == 1013
    assert received <= 256 << 10
