"""Part `hop`: one session, watched live by a client at its owner and by another one; when does each token reach each?

Beside the owner's own replica, which tells what the measuring itself costs, the other client is at another replica, to
which the tokens come over NATS. PostgreSQL's hints carry none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.recital import words
from benchmarks.replicas import several
from benchmarks.report import quantile_ms
from benchmarks.runs import Place, Setting
from benchmarks.servers import Server

SAME, OTHER = "same replica", "another replica"
TURNS: Final = 20
WARM_TURNS: Final = 3
TOKENS: Final = 64
TURN_LIMIT_S: Final = 60.0


@dataclass(frozen=True)
class Hop:
    """Times in ms, of tokens: from their arrival at the client that asked to that at the one that watches."""

    where: str
    """Where the one that watches is."""
    round: int
    tokens: int
    turns: int
    hop_p50: float
    hop_p95: float
    hop_p99: float
    first_token_p50: float
    """From asking to the first token, at the one that watches."""
    live: float
    """Share of the tokens, from 0 to 1, that the one that watches was shown before the answer's end."""
    frames: float
    """That a turn took to show them there."""

    @property
    def cell(self) -> tuple[str, int]:
        return (self.where, self.tokens)

    def line(self) -> str:
        return (
            f"{self.where:16}: a token is there {self.hop_p50:6.2f} ms later (p95 {self.hop_p95:.2f}, "
            f"p99 {self.hop_p99:.2f}), in {self.frames:.1f} frames a turn; {self.live:.0%} are seen live"
        )


@dataclass(frozen=True)
class Turn:
    """When each token's last character had arrived, by number, as far as it was shown live."""

    asked_at: float
    arrivals: list[float]
    frames: int


async def measure(options: argparse.Namespace, place: Place, into: list[Hop]) -> None:
    setting = Setting("streaming", tokens=TOKENS, sessions=1, turns=options.turns or TURNS)
    for number in range(1, options.rounds + 1):
        with place.going_on():
            async with several("nats", 2, setting, place) as (targets, _):
                for where, watched in ((SAME, targets[0]), (OTHER, targets[1])):
                    with place.going_on():
                        into.append(await once(where, targets[0], watched, number, setting))
                        print(f"hop, round {number}/{options.rounds}  {into[-1].line()}", file=sys.stderr, flush=True)


async def once(where: str, asked: Server, watched: Server, number: int, setting: Setting) -> Hop:
    """Raises RuntimeError if the one that watches is shown nothing live."""
    thread = uuid.uuid4().hex
    query = f"?threadId={thread}&cursor=0"
    async with (
        connect(asked.url + query, compression=None, ping_interval=None) as speaker,
        connect(watched.url + query, compression=None, ping_interval=None) as watcher,
    ):
        for turn in range(WARM_TURNS):
            await _turn(speaker, watcher, f"{thread}-w{turn}", setting.tokens)
        turns = [await _turn(speaker, watcher, f"{thread}-{turn}", setting.tokens) for turn in range(setting.turns)]
    return row(where, number, setting, turns)


async def _turn(speaker: ClientConnection, watcher: ClientConnection, request: str, tokens: int) -> tuple[Turn, Turn]:
    asked_at = time.perf_counter()
    async with asyncio.timeout(TURN_LIMIT_S):
        await speaker.send(json.dumps({"type": "message", "requestId": request, "content": "Recite, please."}))
        here, there = await asyncio.gather(*(_seen(each, request) for each in (speaker, watcher)))
    return tuple(Turn(asked_at, arrivals(frames, tokens), len(frames)) for frames in (here, there))  # type: ignore[return-value]


async def _seen(socket: ClientConnection, request: str) -> list[tuple[float, int]]:
    """(arrival, end of the text so far) of each frame with text, until the answer ends."""
    found: list[tuple[float, int]] = []
    async for data in socket:
        at, frame = time.perf_counter(), json.loads(data)
        if frame.get("requestId") != request:
            continue
        if frame["type"] == "token":
            found.append((at, frame["offset"] + len(frame["value"])))
        elif frame["type"] in ("final", "error", "cancelled"):
            if frame["type"] != "final":
                raise RuntimeError(f"an unexpected end: {frame}")
            return found
    raise RuntimeError("a socket ended in the middle of an answer")


def arrivals(frames: Sequence[tuple[float, int]], tokens: int) -> list[float]:
    """Of each token whose last character was shown, in order. `frames`: (arrival, end of the text so far)."""
    ends, found, place = list(accumulate(map(len, words(tokens)))), list[float](), 0
    for at, shown in frames:
        while place < tokens and ends[place] <= shown:
            found.append(at)
            place += 1
    return found


def row(where: str, number: int, setting: Setting, turns: Sequence[tuple[Turn, Turn]]) -> Hop:
    hops = sorted(b - a for here, there in turns for a, b in zip(here.arrivals, there.arrivals, strict=False))
    if not hops:
        raise RuntimeError(f"a client at {where} was shown no token before the answer's end")
    first = sorted(there.arrivals[0] - there.asked_at for _, there in turns if there.arrivals)
    shown = sum(len(there.arrivals) for _, there in turns)
    return Hop(
        where=where,
        round=number,
        tokens=setting.tokens,
        turns=setting.turns,
        hop_p50=quantile_ms(hops, 0.5),
        hop_p95=quantile_ms(hops, 0.95),
        hop_p99=quantile_ms(hops, 0.99),
        first_token_p50=quantile_ms(first, 0.5),
        live=shown / (setting.tokens * len(turns)),
        frames=sum(there.frames for _, there in turns) / len(turns),
    )
