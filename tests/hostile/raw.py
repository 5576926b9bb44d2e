"""WebSockets by hand, to do with them what no library would."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final, Self

TEXT: Final = 0x1
BINARY: Final = 0x2
MORE: Final = 0x0
CLOSE: Final = 0x8
PING: Final = 0x9
MASK: Final = b"mask"
PATIENCE_S: Final = 60.0


def request(port: int, query: str, *, path: str = "/api/chat/ws") -> bytes:
    return (
        f"GET {path}?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def framed(opcode: int, payload: bytes, *, last: bool = True, claimed: int | None = None) -> bytes:
    """A client's frame. `claimed`: the length that its header tells, if not the payload's own."""
    length = len(payload) if claimed is None else claimed
    if length < 126:
        head = bytes([0x80 | length])
    elif length < 1 << 16:
        head = b"\xfe" + length.to_bytes(2)
    else:
        head = b"\xff" + length.to_bytes(8)
    key = int.from_bytes((MASK * (len(payload) // 4 + 1))[: len(payload)])
    masked = (int.from_bytes(payload) ^ key).to_bytes(len(payload))
    return bytes([(0x80 if last else 0) | opcode]) + head + MASK + masked


class Raw:
    """`async with await Raw.dial(port) as raw:`; leaves with a reset, whatever is under way."""

    def __init__(self, tcp: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tcp = tcp
        self.reader = reader
        self.writer = writer

    @classmethod
    async def dial(cls, port: int, *, window: int | None = None) -> Self:
        """`window`: bytes that the kernel is asked to receive before it tells the server to stop."""
        tcp = socket.socket()
        tcp.setblocking(False)
        try:
            if window is not None:
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().sock_connect(tcp, ("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=tcp, limit=window or 1 << 16)
        except BaseException:
            tcp.close()
            raise
        return cls(tcp, reader, writer)

    @classmethod
    async def upgraded(cls, port: int, query: str, *, path: str = "/api/chat/ws", window: int | None = None) -> Self:
        """Raises ConnectionError if the server does not let it in."""
        raw = await cls.dial(port, window=window)
        try:
            raw.writer.write(request(port, query, path=path))
            async with asyncio.timeout(PATIENCE_S):
                answer = await raw.reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in answer:
                raise ConnectionError(answer.split(b"\r\n")[0])
        except BaseException:
            raw.reset()
            raise
        return raw

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reset()

    def reset(self) -> None:
        """No goodbye: the peer finds out from the system, or not at all."""
        with suppress(OSError):  # the transport may have closed it
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def put(self, data: bytes) -> None:
        """Raises ConnectionError once the server has hung up."""
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE_S):  # not wait_for: it may swallow a cancellation (CPython before 3.12)
            await self.writer.drain()

    async def some(self, patience_s: float) -> bytes:
        """What comes next; nothing: the server has hung up. Raises TimeoutError."""
        async with asyncio.timeout(patience_s):
            return await self.reader.read(2_000)

    async def close_code(self) -> int | None:
        """Read until the server closes; None: it hung up without a code. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    first, length = await self.reader.readexactly(2)
                    if length == 126:
                        length = int.from_bytes(await self.reader.readexactly(2))
                    elif length == 127:
                        length = int.from_bytes(await self.reader.readexactly(8))
                    payload = await self.reader.readexactly(length)
                    if first & 0xF == CLOSE:
                        return int.from_bytes(payload[:2])
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
