"""The load: S sessions, each T turns one after another, in a process of its own.

`python -m benchmarks.load URL SESSIONS TURNS direct|unbroken` waits for a line on stdin once it is connected, then runs
and prints one JSON object: times in seconds, one entry a turn.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from typing import Any

import uvloop
from websockets.asyncio.client import connect

CONNECTING_AT_ONCE = 50


class Figures:
    def __init__(self) -> None:
        self.first_token_s: list[float] = []
        self.turn_s: list[float] = []
        self.gaps_s: list[float] = []
        self.frames = 0
        self.bytes = 0


class Session:
    def __init__(self, url: str, turns: int, acknowledges: bool, figures: Figures) -> None:
        self.thread = uuid.uuid4().hex
        self._url = f"{url}?threadId={self.thread}" + ("&cursor=0" if acknowledges else "")
        self._turns = turns
        self._acknowledges = acknowledges
        self._figures = figures
        self._acked_at = 0.0

    async def run(self, connecting: asyncio.Semaphore, connected: asyncio.Semaphore, go: asyncio.Event) -> None:
        async with connecting:
            socket = await connect(self._url, compression=None, max_size=None, ping_interval=None)
        async with socket:
            connected.release()
            await go.wait()
            for number in range(self._turns):
                await self._turn(socket, f"{self.thread}-{number}")

    async def _turn(self, socket: Any, request_id: str) -> None:
        began = last = time.perf_counter()
        first = True
        await socket.send(json.dumps({"type": "message", "requestId": request_id, "content": "Recite, please."}))
        while True:
            data = await socket.recv()
            now = time.perf_counter()
            self._figures.frames += 1
            self._figures.bytes += len(data)
            frame = json.loads(data)
            match frame["type"]:
                case "token" if first:
                    first = False
                    self._figures.first_token_s.append(now - began)
                case "token":
                    self._figures.gaps_s.append(now - last)
                case "final":
                    self._figures.turn_s.append(now - began)
                    if first:
                        self._figures.first_token_s.append(now - began)
                    await self._ack(socket, frame, now)
                    return
                case "error":
                    raise RuntimeError(f"the server answered {data!r}")
            last = now

    async def _ack(self, socket: Any, frame: dict[str, Any], now: float) -> None:
        if self._acknowledges and now - self._acked_at > 1.0:
            self._acked_at = now
            await socket.send(json.dumps({"type": "ack", "cursor": frame["cursor"]}))


async def main(url: str, sessions: int, turns: int, protocol: str) -> None:
    figures = Figures()
    connecting, connected, go = asyncio.Semaphore(CONNECTING_AT_ONCE), asyncio.Semaphore(0), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            session = Session(url, turns, protocol == "unbroken", figures)
            group.create_task(session.run(connecting, connected, go))
        for _ in range(sessions):
            await connected.acquire()
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began = time.perf_counter()
        go.set()
    took = time.perf_counter() - began
    print(json.dumps({"took_s": took, **vars(figures)}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
