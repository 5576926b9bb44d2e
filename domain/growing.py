"""What grows word by word beside an answer's text: what a model thinks, and what a subgraph's model says aside.

It is read as text is: from any unit on, in one piece however many it came in.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from unbroken.domain.utf16 import cut, units

GROWS: Final = frozenset({"reasoning", "aside"})
"""Methods of steps whose data is a piece of some message's text."""
MAX_PART_UNITS: Final = 8_192
"""No part of a stream is longer, so a frame made of one stays under 64 KiB however its text is escaped."""


class Said(Struct, frozen=True, rename="camel"):
    message_id: str
    text: str


_decoder: Final = msgspec.json.Decoder(Said)


def said_in(method: str, data: bytes) -> Said | None:
    """None: it is no piece of what grows."""
    if method not in GROWS:
        return None
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class Growing:
    """Consecutive pieces of one message. Only the last of a stream's parts grows."""

    __slots__ = ("_before", "_last", "length", "message_id", "method", "namespace", "offset", "size")

    def __init__(self, offset: int, method: str, namespace: tuple[str, ...], message_id: str) -> None:
        self.offset = offset
        self.method = method
        self.namespace = namespace
        self.message_id = message_id
        self.length = 0
        """In units."""
        self.size = 0
        """About how many bytes its text takes."""
        self._before: list[str] = []
        self._last = ""

    def takes(self, method: str, namespace: tuple[str, ...], message_id: str, length: int) -> bool:
        """Whether a piece of so many units goes on with it."""
        same = (method, namespace, message_id) == (self.method, self.namespace, self.message_id)
        return same and self.length + length <= MAX_PART_UNITS

    def add(self, text: str, length: int) -> int:
        """About how many bytes it has become longer by."""
        self._before.append(self._last)
        self._last = text
        self.length += length
        grown = len(text) if text.isascii() else 4 * len(text)
        self.size += grown
        return grown

    def data(self, seen: int) -> tuple[bytes, int]:
        """What it holds beyond so many units, as a step's JSON, and how many units that is: one more than asked for,
        where the first would be half of a pair."""
        if seen and seen == self.length - units(self._last):
            text = self._last
        else:
            self._before = ["".join(self._before)]
            text = cut(self._before[0] + self._last, seen)
        return msgspec.json.encode(Said(self.message_id, text)), units(text)
