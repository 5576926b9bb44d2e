"""The load: S sessions, each T turns one after another, in a process of its own.

`python -m benchmarks.load URL SESSIONS TURNS TOKENS direct|unbroken`, driven by lines on stdin:

    → "connected"            every socket is open
    ← any line, → figures    the turns are run; one JSON object, times in seconds, and the CPU this process took
    ← any line, exit         until then the sockets stay open, idle

An answer that is not exactly what the model recites, a frame out of order or a turn that takes too long ends the
process with an error: figures of a server that loses or doubles something are worth nothing. A message that was refused
for the moment is sent again, as the protocol asks; that is counted, and its time goes on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.recital import words

CONNECTING_AT_ONCE = 50
ACK_EVERY_S = 1.0
AGAIN_AFTER_S = 0.25
TURN_LIMIT_S = 300.0


class WrongAnswer(Exception):
    """The server did not say what it must."""


@dataclass
class Figures:
    first_token_s: list[float] = field(default_factory=list)
    """From sending the message to its first token; one a turn, like `turn_s`."""
    turn_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    """Between tokens as they reach the client: tokens that share a frame are no time apart."""
    timeline: list[tuple[int, float, float, float]] = field(default_factory=list)
    """A turn: number of its session, and when it was sent, showed its first token and ended, by one clock."""
    refused: int = 0
    """Messages that the server could not accept at that moment."""
    frames: int = 0
    bytes: int = 0
    """Payload received, without the framing of WebSocket and TCP."""


class Answer:
    """One turn as a client sees it: takes frames until the final one, and holds them to what was asked."""

    def __init__(self, request_id: str, expected: str, *, accepts: bool) -> None:
        self.request_id = request_id
        self._expected = expected
        self._accepts = accepts
        self._accepted = not accepts
        self.text = ""
        self.refused = False
        """The message was not accepted, and may be sent again."""
        self.ended = False
        self.cursor: int | None = None

    def take(self, frame: dict[str, Any]) -> int:
        """Returns how many tokens it brought. Raises WrongAnswer."""
        kind = frame["type"]
        if frame.get("requestId", self.request_id) != self.request_id:
            raise WrongAnswer(f"a {kind} of another request: {frame}")
        if not self._accepted and kind == "error" and frame["retryable"]:
            self.refused = True
            return 0
        if not self._accepted and kind != "accepted":
            raise WrongAnswer(f"a {kind} before the receipt: {frame}")
        match kind:
            case "accepted":
                self._accepted = True
            case "reset":
                self.text = ""
            case "token":
                self._in_place(frame)
                self.text += frame["value"]
                return str(frame["value"]).count(" ")
            case "final":
                self._complete(frame)
            case "user":
                pass
            case _:
                raise WrongAnswer(f"an unexpected frame: {frame}")
        return 0

    def _in_place(self, frame: dict[str, Any]) -> None:
        if self._accepts and frame["offset"] != len(self.text):
            raise WrongAnswer(f"a token at {frame['offset']}, {len(self.text)} characters are shown")

    def _complete(self, frame: dict[str, Any]) -> None:
        if not self.text == frame["message"] == self._expected:
            raise WrongAnswer(f"shown {self.text!r}, final {frame['message']!r}, expected {self._expected!r}")
        self.ended = True
        self.cursor = frame["cursor"] if self._accepts else None


class Session:
    """One socket with a thread of its own. `accepts`: the server sends receipts and cursors, and wants them back."""

    def __init__(self, url: str, number: int, turns: int, expected: str, figures: Figures, *, accepts: bool) -> None:
        self.thread = uuid.uuid4().hex
        self._number = number
        self._url = f"{url}?threadId={self.thread}" + ("&cursor=0" if accepts else "")
        self._turns = turns
        self._expected = expected
        self._accepts = accepts
        self._figures = figures
        self._acked_at = 0.0

    async def run(self, connecting: asyncio.Semaphore, connected: asyncio.Semaphore, go: asyncio.Event) -> None:
        async with connecting:
            socket = await self.connect()
        async with socket:
            connected.release()
            await go.wait()
            for number in range(self._turns):
                await self.turn(socket, number)
            connected.release()
            await socket.wait_closed()
            raise WrongAnswer("the server closed an idle socket")

    async def connect(self) -> ClientConnection:
        return await connect(self._url, compression=None, max_size=None, ping_interval=None)

    async def turn(self, socket: ClientConnection, number: int) -> None:
        """Raises WrongAnswer, or TimeoutError."""
        async with asyncio.timeout(TURN_LIMIT_S):
            await self._turn(socket, Answer(f"{self.thread}-{number}", self._expected, accepts=self._accepts))

    async def _turn(self, socket: ClientConnection, answer: Answer) -> None:
        figures = self._figures
        message = json.dumps({"type": "message", "requestId": answer.request_id, "content": "Recite, please."})
        began = now = last = time.perf_counter()
        first: float | None = None
        await socket.send(message)
        while not answer.ended:
            data = await socket.recv(decode=False)
            now = time.perf_counter()
            figures.frames += 1
            figures.bytes += len(data)
            tokens = answer.take(json.loads(data))
            if tokens and first is None:
                first = now
                figures.first_token_s.append(now - began)
            elif tokens:
                figures.gaps_s.append(now - last)
            if tokens:
                figures.gaps_s += [0.0] * (tokens - 1)
                last = now
            elif answer.refused:
                answer.refused, figures.refused = False, figures.refused + 1
                await asyncio.sleep(AGAIN_AFTER_S)
                await socket.send(message)
        figures.turn_s.append(now - began)
        figures.timeline.append((self._number, began, now if first is None else first, now))
        if answer.cursor is not None and now - self._acked_at > ACK_EVERY_S:
            self._acked_at = now
            await socket.send(json.dumps({"type": "ack", "cursor": answer.cursor}))


async def main(url: str, sessions: int, turns: int, tokens: int, *, accepts: bool) -> None:
    figures = Figures()
    connecting, ready, go = asyncio.Semaphore(CONNECTING_AT_ONCE), asyncio.Semaphore(0), asyncio.Event()
    expected = "".join(words(tokens))
    orders = await _orders()
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(
                Session(url, number, turns, expected, figures, accepts=accepts).run(connecting, ready, go)
            )
            for number in range(sessions)
        ]
        await _all(ready, sessions)
        print("connected", flush=True)
        await orders.readline()
        began, cpu_before_s = time.perf_counter(), time.process_time()
        go.set()
        await _all(ready, sessions)
        took = {"took_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_before_s}
        print(json.dumps({**took, **asdict(figures)}), flush=True)
        await orders.readline()
        for task in running:
            task.cancel()


async def _orders() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _all(ready: asyncio.Semaphore, sessions: int) -> None:
    for _ in range(sessions):
        await ready.acquire()


if __name__ == "__main__":
    address, how_many, each, long, protocol = sys.argv[1:]
    uvloop.run(main(address, int(how_many), int(each), int(long), accepts=protocol == "unbroken"))
