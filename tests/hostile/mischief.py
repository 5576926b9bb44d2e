"""A seeded source of frames: right ones, nearly right ones, and noise. The seed alone decides, so a failure replays."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final

from tests.hostile.nasty import BLOCKS, NAMES, NESTED, RAW, SNIPPETS, TYPES, VALUES, WHOLE

Fields = list[tuple[str, str]]
"""Name and value, both as JSON texts: names may repeat, values need not be JSON."""

REMEMBERED: Final = 40
BUSY: Final = ('"enqueue"', '"reject"', '"interrupt"', '"rollback"', '"later"', "null", "7")
THREADS: Final = ('"ann"', '"bob"', '"mallory-0"', '"elsewhere"', '""', "null", "7")


class Known:
    """What attackers have learned of the sessions: ids to repeat, to cancel, to answer; where logs end."""

    def __init__(self) -> None:
        self.requests: deque[str] = deque(["m-0", "timer:x"], maxlen=REMEMBERED)
        self.interrupts: deque[str] = deque(["ask-0"], maxlen=REMEMBERED)
        self.bodies: deque[str] = deque(maxlen=REMEMBERED)
        """Whole frames that were taken once."""
        self.cursor = 0
        self._made = 0

    def new_request(self) -> str:
        self._made += 1
        request = f"m-{self._made}"
        self.requests.append(request)
        return request


class Mischief:
    def __init__(self, random: Random, known: Known) -> None:
        self._random = random
        self._known = known
        self._kinds: tuple[Callable[[], str | bytes], ...] = (
            *[self._taken] * 12,
            *[self._repeated] * 4,
            *[self._nearly] * 44,
            *[self._damaged] * 28,
            *[self._whole] * 8,
            *[self._bytes] * 4,
        )

    def frame(self) -> str | bytes:
        return self._kinds[int(self._random.random() * 100)]()

    def _pick(self, pool: tuple[str, ...] | deque[str]) -> str:
        return pool[int(self._random.random() * len(pool))]

    def _taken(self) -> str:
        frame = _text(self._right())
        self._known.bodies.append(frame)
        return frame

    def _repeated(self) -> str:
        """A replay: of another socket, of another thread, of long ago."""
        return self._pick(self._known.bodies) if self._known.bodies else self._taken()

    def _nearly(self) -> str:
        fields = self._right()
        for _ in range(1 + (self._random.random() < 0.3)):
            self._spoil(fields)
        return _text(fields)

    def _damaged(self) -> str:
        text = _text(self._right())
        for _ in range(1 + int(self._random.random() * 3)):
            text = self._bend(text)
        return text

    def _whole(self) -> str:
        if self._random.random() < 0.7:
            return self._pick(WHOLE)
        return "".join(chr(int(self._random.random() * 0x11000)) for _ in range(int(self._random.random() * 60)))

    def _bytes(self) -> bytes:
        if self._random.random() < 0.5:
            return RAW[int(self._random.random() * len(RAW))]
        return self._random.randbytes(int(self._random.random() * 80))

    def _right(self) -> Fields:
        """A frame that a good client could send, though not always now."""
        chance = self._random.random()
        if chance < 0.3:
            return [('"type"', '"ack"'), ('"cursor"', str(self._cursor()))]
        if chance < 0.5:
            return [('"type"', '"cancel"'), ('"requestId"', self._request(0.1))]
        if chance < 0.65:
            interrupt = json.dumps(self._pick(self._known.interrupts))
            value = self._pick(BLOCKS) if self._random.random() < 0.5 else '"yes"'
            fields = [('"type"', '"respond"'), ('"requestId"', self._request(0.8)), ('"interruptId"', interrupt)]
            return [*fields, ('"value"', value)]
        return self._message()

    def _message(self) -> Fields:
        content = f'"something new: {self._random.random()}"'
        fields = [('"type"', '"message"'), ('"requestId"', self._request(0.8)), ('"content"', content)]
        if self._random.random() < 0.1:
            fields.append(('"whenBusy"', self._pick(BUSY)))
        if self._random.random() < 0.1:
            fields.append(('"threadId"', self._pick(THREADS)))
        if self._random.random() < 0.05:
            fields.append(('"replaces"', self._request(0.0)))
        return fields

    def _request(self, new: float) -> str:
        if self._random.random() < new:
            return f'"{self._known.new_request()}"'
        return json.dumps(self._pick(self._known.requests))

    def _cursor(self) -> int:
        return self._known.cursor + int(self._random.random() * 7) - 4

    def _spoil(self, fields: Fields) -> None:
        chance = self._random.random()
        at = int(self._random.random() * len(fields))
        name, value = fields[at]
        if chance < 0.12 and len(fields) > 1:
            del fields[at]
        elif chance < 0.6:
            fields[at] = (name, self._pick(TYPES if name == '"type"' and self._random.random() < 0.7 else VALUES))
        elif chance < 0.7:
            fields[at] = (self._pick(NAMES), value)
        elif chance < 0.8:
            fields.insert(at, (name, self._pick(VALUES)))
        elif chance < 0.9:
            fields.append((name, self._pick(VALUES)))
        else:
            fields.append((self._pick(NAMES), self._pick(NESTED)))

    def _bend(self, text: str) -> str:
        chance = self._random.random()
        at = int(self._random.random() * (len(text) + 1))
        until = at + int(self._random.random() * 8)
        if chance < 0.2:
            return text[:at]
        if chance < 0.4:
            return text[:at] + text[until:]
        if chance < 0.5:
            return text[:at] + text[at:until] * 3 + text[until:]
        if chance < 0.9:
            return text[:at] + self._pick(SNIPPETS) + text[until:]
        return text[:at] + chr(int(self._random.random() * 0x250)) + text[at + 1 :]


def _text(fields: Fields) -> str:
    return "{" + ",".join([f"{name}:{value}" for name, value in fields]) + "}"
