"""One device of a user: speaks the protocol, keeps what it was told in its own reducer, and writes down everything.

Written from docs/protocol.md alone; it shares nothing with the product's own client.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import msgspec

from tests.checker.history import Line as Told

if TYPE_CHECKING:
    from tests.simulation.network import ClientEnd
    from tests.simulation.world import World

Frame = dict[str, Any]
Manner = Literal["cursor", "tail", "old"]
"""Follows with a cursor; from now on only, at first; speaks the old protocol and never acknowledges."""

_decode = msgspec.json.Decoder(Frame).decode
_encode = msgspec.json.Encoder().encode
OUT_OF_STEP = -1
NEVER_TOLD = 1_000
"""Log entries beyond the last: what a client that is at fault acknowledges."""
HOPELESS = frozenset({4400, 4401, 4403, 4404})
TRANSIENT = frozenset({"unavailable", "queue_full", "too_fast", "busy"})


class Device:
    def __init__(
        self, world: World, name: str, user_id: str, thread_id: str, *, manner: Manner, random: Random
    ) -> None:
        self.name = name
        self.user_id = user_id
        self.thread_id = thread_id
        self.told: list[Told] = []
        self.cursor: int | None = 0 if manner == "cursor" else None
        self.unsent: dict[str, Frame] = {}
        """Requests that nobody has confirmed or refused, by id."""
        self.open: list[str] = []
        """Requests that are under way, as far as is known here."""
        self.ended: list[str] = []
        self.questions: dict[str, None] = {}
        self.refused: dict[str, str] = {}
        self.turned_away: int | None = None
        """The code with which this device was told not to come back."""
        self.reads = True
        self.home: str | None = None
        """The replica it connects to; None: any."""
        self.leaving = False
        self._world = world
        self._manner = manner
        self._random = random
        self._line: ClientEnd | None = None
        self._running: tuple[str, int, int] | None = None
        """Request, attempt and length of the text that is shown."""
        self._retries: set[str] = set()

    @property
    def connected(self) -> bool:
        return self._line is not None

    async def forever(self) -> None:
        """Stay connected, whatever it takes."""
        while not self._has_left():
            line = await self._world.connect(self, urlencode(query := self._query()))
            if line is None:
                await asyncio.sleep(0.05 + 0.2 * self._random.random())
                continue
            self._write(Told("open", query={"userId": self.user_id, **query}))  # its cursor has been taken for an ack
            if self._has_left():
                line.leave()
                return
            self._line = line
            for frame in list(self.unsent.values()):
                self._send(frame)
            code = await self._listen(line)
            self._line = None
            line.leave()
            self._write(Told("closed", code=None if code == OUT_OF_STEP else code))
            if code in HOPELESS:
                self.turned_away = code
                return
            await asyncio.sleep(0.0 if code == 1012 else 0.1 * self._random.random())

    def leave(self) -> None:
        self.leaving = True
        if self._line is not None:
            self._line.leave()

    def _has_left(self) -> bool:
        return self.leaving

    # What its user does

    def say(self, request_id: str, content: str, **options: Any) -> None:
        self._ask({"type": "message", "requestId": request_id, "content": content, **options})

    def respond(self, request_id: str, interrupt_id: str, value: str) -> None:
        self._ask({"type": "respond", "requestId": request_id, "interruptId": interrupt_id, "value": value})

    def cancel(self, request_id: str) -> None:
        self._send({"type": "cancel", "requestId": request_id})

    def repeat(self, request_id: str, *, changed: bool) -> None:
        """Say the same again, or something else under the same name."""
        content = f"not what {request_id} said" if changed else self._world.contents.get(request_id, "")
        self._send({"type": "message", "requestId": request_id, "content": content})

    def _ask(self, frame: Frame) -> None:
        if self._manner != "old":  # that protocol has no receipts, so nobody speaking it can know what to repeat
            self.unsent[frame["requestId"]] = frame
        self._send(frame)

    def _send(self, frame: Frame) -> None:
        if self._line is not None:
            self._write(Told("sent", frame=frame))
            self._line.send(_encode(frame).decode())

    def _query(self) -> dict[str, str]:
        query = {"threadId": self.thread_id}
        if self.cursor is not None:
            query["cursor"] = str(self.cursor)
        elif self._manner == "tail":
            query["cursor"] = "tail"
        if self._running is not None and self._manner != "old":
            request_id, attempt, length = self._running
            if length and self._random.random() < 0.2:
                # It shows less than it was told, which ends in the middle of a piece.
                length = self._random.randrange(length)
                self._running = request_id, attempt, length
            query |= {"requestId": request_id, "attempt": str(attempt), "offset": str(length)}
        return query

    async def _listen(self, line: ClientEnd) -> int:
        while True:
            while not self.reads:  # noqa: ASYNC110 - a user who comes back some time
                await asyncio.sleep(0.05)
            got = await line.receive()
            if isinstance(got, int):
                return got
            frame = _decode(got)
            self._write(Told("frame", frame=frame))
            if not self._apply(frame):
                return OUT_OF_STEP

    def _apply(self, frame: Frame) -> bool:
        """False: the connection cannot be believed any further."""
        kind, request, cursor = frame["type"], frame.get("requestId", ""), frame.get("cursor")
        if kind == "gap":
            self.cursor = cursor
            return True
        if cursor is not None:
            return self._durable(kind, request, cursor, frame)
        match kind:
            case "accepted" | "user":
                self.unsent.pop(request, None)
                if request not in self.open and request not in self.ended:
                    self.open.append(request)
            case "reset":
                self._running = (request, frame["attempt"], 0)
            case "token":
                return self._token(request, frame)
            case "error" if request in self.unsent:
                self._refused(request, frame["code"])
        return True

    def _token(self, request: str, frame: Frame) -> bool:
        length = len(frame["value"].encode("utf-16-le")) // 2
        if self._manner == "old":
            return True
        if self._running is None or self._running[:2] != (request, frame["attempt"]):
            return False
        shown = self._running[2]
        if frame["offset"] != shown and not (frame["offset"] == shown - 1 and frame["value"][:1] > "\uffff"):
            return False
        self._running = (request, frame["attempt"], frame["offset"] + length)
        return True

    def _durable(self, kind: str, request: str, cursor: int, frame: Frame) -> bool:
        if self._manner != "old":
            if self.cursor is not None and cursor != self.cursor + 1:
                return cursor <= self.cursor
            self.cursor = cursor
            self._acknowledge(cursor)
        if kind == "question":
            self.questions[frame["interruptId"]] = None
        elif kind == "answered":
            self.questions.pop(frame["interruptId"], None)
        else:
            self.unsent.pop(request, None)
            if request in self.open:
                self.open.remove(request)
            self.ended.append(request)
            if self._running is not None and self._running[0] == request:
                self._running = None
        return True

    def _acknowledge(self, cursor: int) -> None:
        chance = self._random.random()
        if chance < 0.6:
            self._send({"type": "ack", "cursor": cursor + NEVER_TOLD if chance < 0.02 else cursor})

    def _refused(self, request: str, code: str) -> None:
        if code not in TRANSIENT:
            del self.unsent[request]
            self.refused[request] = code
        elif request not in self._retries:
            self._retries.add(request)
            asyncio.get_running_loop().call_later(0.1 + 0.4 * self._random.random(), self._again, request)

    def _again(self, request: str) -> None:
        self._retries.discard(request)
        if request in self.unsent:
            self._send(self.unsent[request])

    def _write(self, line: Told) -> None:
        now = asyncio.get_running_loop().time()
        self.told.append(Told(line.kind, now, now, line.query, line.frame, line.code))
