"""The provisional output of one running attempt: one text, and the tool calls beside it.

Positions count UTF-16 code units of the attempt's one text (protocol, rule 2). Appending makes text
well-formed once, for the stream and for everything derived from it: a trailing high surrogate waits for the
next chunk, unpaired ones and U+0000 become U+FFFD.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from unbroken.domain.errors import AnswerTooLong

MAX_UNITS = 1 << 20
MAX_TOOL_STEPS = 1_000
BETWEEN_MESSAGES = "\n\n"
REPLACEMENT = "�"

ToolPhase = Literal["started", "finished", "failed"]


class TextPart(Struct, frozen=True):
    offset: int
    text: str
    message_id: str


class ToolPart(Struct, frozen=True):
    offset: int
    tool_call_id: str
    name: str
    phase: ToolPhase
    data: str | None = None


Part = TextPart | ToolPart


def units(text: str) -> int:
    """Length in UTF-16 code units."""
    if text.isascii():
        return len(text)
    return len(text) + sum(character > "\uffff" for character in text)


def well_formed(text: str) -> str:
    """U+0000 and unpaired surrogates become U+FFFD; surrogate pairs become the character they mean."""
    if text.isascii():
        return text.replace("\x00", REPLACEMENT)
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return paired.replace("\x00", REPLACEMENT)


def cut(text: str, offset: int) -> str:
    """`text` without its first `offset` UTF-16 units; inside a surrogate pair, rounded down."""
    if text.isascii():
        return text[offset:]
    seen = 0
    for index, character in enumerate(text):
        width = 2 if character > "\uffff" else 1
        if seen + width > offset:
            return text[index:]
        seen += width
    return ""


def join_messages(texts: list[str]) -> str:
    """An attempt's one text from its messages' texts."""
    return BETWEEN_MESSAGES.join(text for text in texts if text)


class LiveStream:
    """Append-only and shared: a connection is a position in `parts`, never a queue of its own.

    Bounded at 1 Mi units and 1,000 tool steps; beyond, appending raises AnswerTooLong. While one message
    streams, the chunks of others wait until it is closed.
    """

    __slots__ = ("_high", "_open", "_seen", "_starts", "_tool_steps", "_waiting", "length", "parts")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.length = 0
        self._starts: list[int] = []
        self._tool_steps = 0
        self._open: str | None = None
        self._high = ""
        self._seen: set[str] = set()
        self._waiting: dict[str, list[str]] = {}

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    def append(self, message_id: str, chunk: str) -> None:
        if self._open is None and message_id not in self._seen:
            self._open = message_id
        if self._open != message_id:
            if message_id not in self._seen:
                self._waiting.setdefault(message_id, []).append(chunk)
            return
        if self._high:
            chunk, self._high = self._high + chunk, ""
        if chunk and "\ud800" <= chunk[-1] <= "\udbff":
            chunk, self._high = chunk[:-1], chunk[-1]
        self._write(message_id, chunk)

    def close(self, message_id: str) -> None:
        """No more chunks of this message will come; the next one that waits takes its place."""
        if self._open != message_id:
            return
        if self._high:
            self._high, rest = "", self._high
            self._write(message_id, rest)
        self._seen.add(message_id)
        self._open = None
        if self._waiting:
            following = next(iter(self._waiting))
            for chunk in self._waiting.pop(following):
                self.append(following, chunk)

    def begin_with(self, message_id: str, text: str) -> None:
        """Start with text that was committed before the attempt (a resume inside its event)."""
        self._write(message_id, text)
        self._seen.add(message_id)

    def tool(self, tool_call_id: str, name: str, phase: ToolPhase, data: str | None = None) -> None:
        self._tool_steps += 1
        if self._tool_steps > MAX_TOOL_STEPS:
            raise AnswerTooLong(f"the turn took more than {MAX_TOOL_STEPS} tool steps")
        self._push(ToolPart(self.length, well_formed(tool_call_id), well_formed(name), phase, data))

    def seek(self, offset: int) -> tuple[int, str, str]:
        """Where a reader that shows `offset` units goes on: (index of the next part, the rest of the part it
        stands in, that part's message id)."""
        index = bisect_right(self._starts, offset) - 1
        while index >= 0 and not isinstance(self.parts[index], TextPart):
            index -= 1
        if index < 0:
            return 0, "", ""
        part = self.parts[index]
        assert isinstance(part, TextPart)
        return index + 1, cut(part.text, offset - part.offset), part.message_id

    def tools(self, until: int) -> Iterator[ToolPart]:
        return (part for part in self.parts[:until] if isinstance(part, ToolPart))

    def _write(self, message_id: str, chunk: str) -> None:
        text = well_formed(chunk)
        if not text:
            return
        if self.length and message_id not in self._seen and not self._began(message_id):
            text = BETWEEN_MESSAGES + text
        if self.length + units(text) > MAX_UNITS:
            raise AnswerTooLong(f"the answer is longer than {MAX_UNITS} UTF-16 units")
        self._push(TextPart(self.length, text, message_id))
        self.length += units(text)

    def _began(self, message_id: str) -> bool:
        for part in reversed(self.parts):
            if isinstance(part, TextPart):
                return part.message_id == message_id
        return False

    def _push(self, part: Part) -> None:
        self.parts.append(part)
        self._starts.append(part.offset)
