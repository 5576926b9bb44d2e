"""One hostile client after another: each connects, sends what it likes, and leaves as it likes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Any, Final

import msgspec

from tests.hostile.mischief import Known, Mischief
from tests.hostile.owed import Owed, WrongAnswer
from tests.hostile.pipe import Pipe
from tests.hostile.service import SETTINGS, Host
from tests.hostile.tally import Tally
from unbroken.entrypoints.web.abuse import MAX_BAD, MAX_TOO_FAST, WINDOW_S
from unbroken.entrypoints.web.connection import LOST_RACES
from unbroken.entrypoints.web.frames import CloseCode, ErrorCode, ServerFrame
from unbroken.entrypoints.web.query import BadQuery, parse_query

SECRET: Final = "ann alone may read this"
CODES: Final = {str(code): code for code in ErrorCode}
DECODER: Final = msgspec.json.Decoder(ServerFrame)
VALUES: Final = (
    *("0", "1", "3", "-1", "500", "9007199254740991", "9007199254740992", "99999999999999999", "tail", "", "%00"),
    *("m-1", "m-7", "a%20b", "%ff", "%ud800", "é", "x" * 129, "demo", "nobody", "1e3", "٣", "+1"),
)
NAMES: Final = ("cursor", "requestId", "attempt", "offset", "agentId", "threadId", "userId", "", "cursor%00")
SETTLED_S: Final = 0.001
"""Time that passes only when everything that can happen at once has happened."""


class Attacker:
    def __init__(self, host: Host, known: Known, tally: Tally, name: str, random: Random | None = None) -> None:
        self._host = host
        self._random = random = random or Random(0)
        self._known = known
        self._mischief = Mischief(random, known)
        self._tally = tally
        self._name = name
        self._owed = Owed(SETTINGS.frame_limits)
        self._pipe: Pipe | None = None
        self._cursor: int | None = None
        self._legacy = False
        self._understood = True
        self._user = ""
        self._bad: deque[float] = deque(maxlen=MAX_BAD)
        self._too_fast: deque[float] = deque(maxlen=MAX_TOO_FAST)

    async def attack(self, frames: int) -> None:
        """Send so many frames, over as many sockets as that takes. Raises whatever proves the server wrong."""
        self._tally.last[self._name] = None
        sent = 0
        while sent < frames:
            sent += await self._visit(min(frames - sent, 400))

    async def send(self, user: str, query: str, frames: Iterable[str | bytes]) -> None:
        """These very frames over one socket, one after another. Raises as `attack`."""
        pipe, serving = self._connect(user, query.encode())
        for frame in frames:
            await self._burst(pipe, [frame])
        if pipe.open:
            pipe.leave()
        await serving
        self._judge_end(pipe)

    async def _visit(self, most: int) -> int:
        """One socket, from its query to its end; returns how many frames went over it, at least one."""
        pipe, serving = self._connect(*self._query())
        try:
            sent = await self._talk(pipe, most) if self._understood else 0
            if pipe.open and self._random.random() < 0.02:
                await self._sleep_through(pipe)
        finally:
            if pipe.open:
                pipe.leave()
        await serving
        self._judge_end(pipe)
        return max(1, sent)

    def _connect(self, user: str, query: bytes) -> tuple[Pipe, asyncio.Task[None]]:
        self._user = user
        self._understood = True
        self._bad.clear()
        self._too_fast.clear()
        self._tally.sockets += 1
        try:
            hello = parse_query(query)
        except BadQuery:
            self._understood = False
        else:
            self._cursor = hello.cursor if isinstance(hello.cursor, int) else None
            self._legacy = hello.legacy
            self._owed = Owed(SETTINGS.frame_limits, legacy=hello.legacy)
        pipe = self._pipe = Pipe(query, self._heard)
        return pipe, asyncio.create_task(self._host.serve(pipe, user))

    async def _talk(self, pipe: Pipe, most: int) -> int:
        sent = 0
        patient = self._random.random() < 0.3
        flood = self._random.random() < 0.02
        while sent < most and pipe.open:
            burst = most if flood else min(most - sent, 1 + int(self._random.random() * 12))
            await self._burst(pipe, [self._mischief.frame() for _ in range(burst)])
            sent += burst
            if patient:
                await asyncio.sleep(self._random.random() * 4)
        return sent

    async def _burst(self, pipe: Pipe, frames: list[str | bytes]) -> None:
        """Send all of them at once, and look what came of it."""
        self._put(pipe, frames)
        await asyncio.sleep(SETTLED_S)
        if pipe.over:
            return
        if not self._owed.settled():
            raise WrongAnswer(f"no answer to {self._owed.waiting()[:3]!r}")
        for refused in (self._bad, self._too_fast):
            if len(refused) == refused.maxlen and refused[-1] - refused[0] < WINDOW_S:
                raise WrongAnswer(f"not closed after {len(refused)} refusals in {refused[-1] - refused[0]} s")

    def _put(self, pipe: Pipe, frames: list[str | bytes]) -> None:
        for frame in frames:
            self._tally.last[self._name] = frame
            self._owed.due(frame)
        pipe.put(*frames)
        self._tally.frames += len(frames)

    async def _sleep_through(self, pipe: Pipe) -> None:
        """A zero window: nothing is read any more, until the server has had enough or there was nothing to read."""
        pipe.reads.clear()
        self._put(pipe, [self._mischief.frame() for _ in range(5)])
        await asyncio.sleep(2 * SETTINGS.reader_stall_s)
        if pipe.open and pipe.blocked:
            raise WrongAnswer("a reader that takes nothing is not closed")

    def _heard(self, text: str) -> None:
        answer: dict[str, Any] = msgspec.json.decode(text)
        DECODER.decode(text)
        assert self._pipe is not None
        kind = answer["type"]
        self._tally.heard[kind] += 1
        if SECRET in text and self._user != "ann":
            raise WrongAnswer(f"{self._user} was sent what is ann's: {text}")
        if "cursor" in answer:
            self._logged(answer)
        elif kind == "error":
            self._refused(answer)
        elif kind in ("accepted", "cancelling"):
            self._owed.heard(answer)
        elif kind in ("user", "reset"):
            self._known.requests.append(answer["requestId"])

    def _refused(self, answer: dict[str, Any]) -> None:
        code = CODES[answer["code"]]
        self._tally.refusals[code] += 1
        self._owed.heard(answer)
        now = asyncio.get_running_loop().time()
        if code is ErrorCode.TOO_FAST and "requestId" not in answer:
            self._too_fast.append(now)
        elif code.kind == "refused" and code not in LOST_RACES:
            self._bad.append(now)

    def _logged(self, answer: dict[str, Any]) -> None:
        """Durable frames come without a gap; a `gap` says where they go on. The old protocol has fewer of them."""
        cursor, known = answer["cursor"], self._cursor
        follows = known is None or (cursor > known if self._legacy else cursor == known + 1)
        if answer["type"] != "gap" and not follows:
            raise WrongAnswer(f"cursor {cursor} after {self._cursor}")
        self._cursor = cursor
        self._known.cursor = cursor
        if answer["type"] == "question":
            self._known.interrupts.append(answer["interruptId"])

    def _judge_end(self, pipe: Pipe) -> None:
        code = pipe.code
        if code is None:
            return
        self._tally.closes[code] += 1
        why: dict[int, bool] = {
            CloseCode.BAD_QUERY: not self._understood,
            CloseCode.TOO_BIG: self._owed.oversized,
            CloseCode.TOO_MANY: self._owed.sent >= MAX_BAD,
            CloseCode.NOT_YOUR_THREAD: True,
            CloseCode.NO_SUCH_AGENT: True,
            CloseCode.OVERLOADED: not pipe.reads.is_set(),
        }
        if not why.get(code, False):
            raise WrongAnswer(f"closed with {code} after {self._owed.sent} frames")

    def _query(self) -> tuple[str, bytes]:
        """Mostly one that is let in: on a thread of its own, or of the user whom it shares a thread with."""
        chance = self._random.random()
        if chance < 0.55:
            user, thread = "mallory", self._name
        elif chance < 0.8:
            user, thread = "bob", "bob"
        elif chance < 0.92:
            user, thread = "mallory", "ann" if self._random.random() < 0.7 else "bob"
        else:
            user, thread = "mallory", f"{self._name}-{int(self._random.random() * 4)}"
        query = f"threadId={thread}"
        chance = self._random.random()
        if chance < 0.6:
            query += f"&cursor={max(0, self._known.cursor + int(self._random.random() * 5) - 3)}"
        elif chance < 0.85:
            for _ in range(1 + int(self._random.random() * 4)):
                name = NAMES[int(self._random.random() * len(NAMES))]
                query += f"&{name}={VALUES[int(self._random.random() * len(VALUES))]}"
        return user, query.encode()
