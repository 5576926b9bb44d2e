"""Each way in which a socket may be abused: a coroutine that does it once, and tells how the server ended it.

A close code, None where the server just hung up, or LEFT where the attacker went first.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

from msgspec import Struct

from tests.hostile.mischief import Known, Mischief
from tests.hostile.raw import BINARY, CLOSE, MORE, PING, TEXT, Raw, framed, request

LEFT: Final = -1
End = int | None


class Target(Struct, frozen=True):
    port: int
    random: Random
    hold_s: float
    """How long those stay who do nothing but stay."""
    beside: list[str] = []
    """Threads that somebody well-behaved talks in, the present one last."""

    def thread(self) -> str:
        """New ones every minute: a conversation that only grows would look like a leak."""
        return f"hostile-{time.monotonic() // 60:.0f}-{self.random.randrange(50)}"

    def upgraded(self, *, thread: str = "", cursor: str = "0", window: int | None = None) -> Awaitable[Raw]:
        return Raw.upgraded(self.port, f"threadId={thread or self.thread()}&cursor={cursor}", window=window)

    def message(self, content: str) -> bytes:
        frame = {"type": "message", "requestId": f"r-{self.random.randrange(1 << 40)}", "content": content}
        return framed(TEXT, json.dumps(frame).encode())


async def half_open(target: Target) -> End:
    """Asks something, then is gone without a word: no reads, no pongs, no close."""
    async with await target.upgraded() as raw:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.put(target.message("words=20 pause=0.01"))
        await asyncio.sleep(target.hold_s)
    return LEFT


async def zero_window(target: Target) -> End:
    """Asks for more than all buffers hold, and takes none of it."""
    async with await target.upgraded(window=2_048) as raw:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.put(target.message("words=300 wide=1000 pause=0"))
        await asyncio.sleep(target.hold_s)
    return LEFT


async def slow_handshake(target: Target) -> End:
    """One byte after another, and never the last one."""
    async with await Raw.dial(target.port) as raw:
        for byte in request(target.port, "threadId=slow")[:-2]:
            await raw.put(bytes([byte]))
            await asyncio.sleep(target.hold_s / 100)
            if raw.reader.at_eof():
                return None
    return LEFT


async def silent_dial(target: Target) -> End:
    async with await Raw.dial(target.port) as raw:
        try:
            await raw.some(target.hold_s)
        except TimeoutError:
            return LEFT
    return None


async def flood(target: Target) -> End:
    async with await target.upgraded() as raw:
        await raw.put(framed(TEXT, b'{"type":"ack","cursor":0}') * 1_000)
        return await raw.close_code()


async def reconnects(target: Target) -> End:
    for _ in range(20):
        async with await target.upgraded(cursor="tail") as raw:
            if target.random.random() < 0.5:
                await raw.put(framed(CLOSE, b"\x03\xe8"))
                await raw.close_code()
    return LEFT


async def stale_cursors(target: Target) -> End:
    """Cursors, attempts and offsets of other times and other threads."""
    for _ in range(10):
        cursor = target.random.choice(["0", "1", "7", "499", "9007199254740991", "tail"])
        where = f"&requestId=r-1&attempt={target.random.randrange(9)}&offset={target.random.choice([0, 3, 2**53 - 1])}"
        async with await target.upgraded(cursor=cursor + target.random.choice(["", where])) as raw:
            await raw.put(framed(TEXT, b'{"type":"ack","cursor":%d}' % target.random.randrange(1 << 40)))
            await raw.some(30)
    return LEFT


async def oversized(target: Target) -> End:
    async with await target.upgraded() as raw:
        if target.random.random() < 0.5:
            await raw.put(framed(TEXT, b"x" * 10_000, claimed=20 << 20))
        else:
            await raw.put(framed(TEXT, b"x" * ((1 << 20) + 1)))
        return await raw.close_code()


async def fragments(target: Target) -> End:
    """A thousand pieces of a byte each, pings between them; or a message that never ends."""
    async with await target.upgraded() as raw:
        if target.random.random() < 0.5:
            text = b'{"type":"ack","cursor":%s0}' % (b" " * 1_000)
            pieces = [framed(MORE, text[n : n + 1], last=False) + framed(PING, b"?") for n in range(1, len(text) - 1)]
            await raw.put(framed(TEXT, text[:1], last=False) + b"".join(pieces) + framed(MORE, text[-1:]))
            await raw.put(framed(CLOSE, b"\x03\xe8"))
        else:
            await raw.put(framed(TEXT, b"x" * 65_536, last=False) + framed(MORE, b"x" * 65_536, last=False) * 20)
        return await raw.close_code()


async def invalid_utf8(target: Target) -> End:
    async with await target.upgraded() as raw:
        await raw.put(framed(TEXT, b'{"type":"message","requestId":"x","content":"\xff\xfe\xed\xa0\x80"}'))
        return await raw.close_code()


async def random_bytes(target: Target) -> End:
    async with await target.upgraded() as raw:
        for _ in range(20):
            await raw.put(target.random.randbytes(target.random.randrange(1, 3_000)))
        await raw.put(b"\x81")
        return await raw.close_code() if target.random.random() < 0.9 else LEFT


async def broken_protocol(target: Target) -> End:
    """Reserved bits, reserved opcodes, unmasked frames, pings that are too long, continuations of nothing."""
    broken = (
        b"\xf1\x80mask",
        b"\x83\x80mask",
        b"\x81\x02{}",
        framed(PING, b"x" * 126),
        framed(MORE, b"x"),
        b"\x88\x81maskx",
    )
    async with await target.upgraded() as raw:
        await raw.put(target.random.choice(broken))
        return await raw.close_code()


async def ping_flood(target: Target) -> End:
    async with await target.upgraded(window=4_096) as raw:
        await raw.put(framed(PING, b"x" * 125) * 3_000)
        await raw.put(framed(CLOSE, b"\x03\xe8"))
        return await raw.close_code()


async def no_http(target: Target) -> End:
    """Not even a request: noise, endless headers, methods and versions that do not exist."""
    asked = request(target.port, "threadId=x")
    sent = target.random.choice(
        (
            target.random.randbytes(2_000),
            asked.replace(b"GET", b"BREW"),
            asked.replace(b"13\r\n", b"99\r\n"),
            asked.replace(b"Upgrade: websocket\r\n", b""),
            asked.replace(b"127.0.0.1", b"evil.example"),
            asked[:-2] + b"X-Long: " + b"x" * 200_000 + b"\r\n\r\n",
            asked[:-2] + b"".join(b"X-%d: y\r\n" % n for n in range(3_000)) + b"\r\n",
            request(target.port, "threadId=" + "x" * 30_000),
            request(target.port, "threadId=%ff%00"),
            request(target.port, "threadId=x", path="/%2e%2e/%2e%2e/etc/passwd"),
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\nx",
        )
    )
    async with await Raw.dial(target.port) as raw:
        await raw.put(sent)
        try:
            await raw.some(5)
        except TimeoutError:
            return LEFT
    return None


async def mischief(target: Target) -> End:
    """Frames as the fuzzer makes them, over the wire."""
    source = Mischief(target.random, Known())
    async with await target.upgraded() as raw:
        for _ in range(100):
            frame = source.frame()
            data = frame if isinstance(frame, bytes) else frame.encode("utf-8", "replace")
            await raw.put(framed(BINARY if isinstance(frame, bytes) else TEXT, data))
            await asyncio.sleep(0)
        await raw.put(framed(CLOSE, b"\x03\xe8"))
        return await raw.close_code()


async def neighbours(target: Target) -> End:
    """Frames into the thread of somebody well-behaved, whose user this is too."""
    async with await target.upgraded(thread=target.beside[-1]) as raw:
        for bad in (b"{", b'{"type":"ack","cursor":1000000}', b'{"type":"message","requestId":"x","content":7}', b"[]"):
            await raw.put(framed(TEXT, bad) * 5)
        return await raw.close_code()


HANGS_UP: Final = (None, LEFT)
ATTACKS: Final[Mapping[Callable[[Target], Awaitable[End]], tuple[End, ...]]] = {
    half_open: (LEFT,),
    zero_window: (LEFT,),
    slow_handshake: HANGS_UP,
    silent_dial: HANGS_UP,
    flood: (4429, None),
    reconnects: (LEFT,),
    stale_cursors: (LEFT,),
    oversized: (1009, None),
    fragments: (1000, 1009, None),
    invalid_utf8: (1007, None),
    random_bytes: (1002, 1007, 1009, 1000, 1005, 4429, *HANGS_UP),
    broken_protocol: (1002, None),
    ping_flood: (1000, None),
    no_http: HANGS_UP,
    mischief: (1000, 1009, 4429, None),
    neighbours: (4429, None),
}
"""And with what each may end. None is always possible: whoever is still writing when the server closes is reset."""
STAY: Final = (half_open, zero_window, slow_handshake, silent_dial)
"""Those that take a place for a while: many of them at a time."""
