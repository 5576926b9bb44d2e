"""The provisional output of one running attempt: one text, and what is shown beside it, tool calls and other steps.

Positions count UTF-16 code units of the attempt's one text (protocol, rule 2). Appending makes text
well-formed once, for the stream and for everything derived from it: a trailing high surrogate waits for the
next chunk, unpaired ones and U+0000 become U+FFFD.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from unbroken.domain.errors import AnswerTooLong

MAX_UNITS = 1 << 20
MAX_TOOL_STEPS = 1_000
MAX_STEPS = 100_000
MAX_STEP_BYTES = 8 << 20
"""Of all steps' data; beyond, the oldest steps lose theirs: a snapshot of long ago that a later one has replaced."""
MAX_PART_UNITS = 8_192
"""No part is longer, so a frame made of one stays under 64 KiB however its text is escaped."""
BETWEEN_MESSAGES = "\n\n"
REPLACEMENT = "�"

ToolPhase = Literal["started", "finished", "failed"]


class TextPart(Struct, frozen=True, array_like=True, tag="text"):
    offset: int
    text: str
    message_id: str


class ToolPart(Struct, frozen=True, array_like=True, tag="tool"):
    offset: int
    tool_call_id: str
    name: str
    phase: ToolPhase
    data: str | None = None


class StepPart(Struct, frozen=True, array_like=True, tag="step"):
    """Anything else that a run shows beside its text.

    `custom`: what a node wrote with LangGraph's stream writer; `reasoning` and `aside` (text of a subgraph's message):
    {"messageId", "text"}. Of a rich run also what LangGraph's stream modes yield, by their names.
    """

    offset: int
    method: str
    namespace: tuple[str, ...]
    """The subgraph it comes from, outermost first; empty: the root graph."""
    data: bytes | None
    """JSON. None: let go of."""


Part = TextPart | ToolPart | StepPart


class Place(Struct, frozen=True, order=True):
    """How far an attempt's stream was read: the same wherever it is read, however its parts were merged."""

    units: int
    """Of text."""
    sides: int
    """Tool and other steps."""

    @property
    def position(self) -> int:
        """One number that grows with each part."""
        return self.units + self.sides


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


def merged(parts: list[Part], position: int) -> tuple[Part, int]:
    """The part at `position` with the following ones of the same message, as long as one frame holds them; and the
    position after them."""
    first = parts[position]
    position += 1
    if not isinstance(first, TextPart):
        return first, position
    length = units(first.text)
    texts = [first.text]
    while position < len(parts):
        following = parts[position]
        if not isinstance(following, TextPart) or following.message_id != first.message_id:
            break
        length += units(following.text)
        if length > MAX_PART_UNITS:
            break
        texts.append(following.text)
        position += 1
    if len(texts) == 1:
        return first, position
    return TextPart(first.offset, "".join(texts), first.message_id), position


def join_messages(texts: list[str]) -> str:
    """An attempt's one text from its messages' texts."""
    return BETWEEN_MESSAGES.join(text for text in texts if text)


class LiveStream:
    """Append-only and shared: a connection is a position in `parts`, never a queue of its own.

    Bounded at 1 Mi units, 1,000 tool steps and 100,000 others; beyond, appending raises AnswerTooLong. While one
    message streams, the chunks of others wait until it is closed.
    """

    __slots__ = (
        "_ended",
        "_held",
        "_high",
        "_open",
        "_seen",
        "_starts",
        "_step_bytes",
        "_steps",
        "_steps_held",
        "_tool_steps",
        "_waiting",
        "length",
        "parts",
    )

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.length = 0
        self._starts: list[int] = []
        self._tool_steps = 0
        self._steps = 0
        self._step_bytes = 0
        self._steps_held: deque[int] = deque()
        """Where the steps stand whose data is here."""
        self._open: str | None = None
        self._high = ""
        self._seen: set[str] = set()
        self._waiting: dict[str, list[str]] = {}
        self._ended: set[str] = set()
        """Of those that wait: complete already."""
        self._held = 0
        """Units that wait."""

    @property
    def weight(self) -> int:
        """About how many bytes it holds."""
        return self.length + self._step_bytes + 100 * len(self.parts)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def messages(self) -> tuple[tuple[str, str], ...]:
        """(message id, text) of everything written so far, in order."""
        texts: dict[str, list[str]] = {}
        for part in self.parts:
            if isinstance(part, TextPart):
                begins = part.message_id not in texts and bool(texts)
                text = part.text.removeprefix(BETWEEN_MESSAGES) if begins else part.text
                texts.setdefault(part.message_id, []).append(text)
        return tuple((message_id, "".join(pieces)) for message_id, pieces in texts.items())

    def append(self, message_id: str, chunk: str) -> None:
        """Text of a message; what comes after its end is dropped. A message begins with its first text: some
        providers send an empty chunk under an id that never says or ends anything, and it must not block others."""
        if not chunk:
            return
        if self._open is None and message_id not in self._seen:
            self._open = message_id
        if self._open != message_id:
            if message_id not in self._seen and message_id not in self._ended:
                self._hold(message_id, chunk)
            return
        if self._high:
            chunk, self._high = self._high + chunk, ""
        if chunk and "\ud800" <= chunk[-1] <= "\udbff":
            chunk, self._high = chunk[:-1], chunk[-1]
        self._write(message_id, chunk)

    def close(self, message_id: str) -> None:
        """No more chunks of this message will come; the next one that waits takes its place."""
        if message_id in self._waiting:
            self._ended.add(message_id)
        while self._open == message_id:
            if self._high:
                self._high, rest = "", self._high
                self._write(message_id, rest)
            self._seen.add(message_id)
            self._open = None
            if not self._waiting:
                return
            message_id = self._release()
            if message_id not in self._ended:
                return
            self._ended.discard(message_id)

    def _hold(self, message_id: str, chunk: str) -> None:
        self._held += units(chunk)
        if self.length + self._held > MAX_UNITS:
            raise AnswerTooLong(f"the answer is longer than {MAX_UNITS} UTF-16 units")
        self._waiting.setdefault(message_id, []).append(chunk)

    def _release(self) -> str:
        """The message that has waited longest takes its place; its id."""
        message_id = next(iter(self._waiting))
        chunks = self._waiting.pop(message_id)
        self._held -= sum(map(units, chunks))
        self._open = message_id
        for chunk in chunks:
            self.append(message_id, chunk)
        return message_id

    def begin_with(self, message_id: str, text: str) -> None:
        """Start with text that was committed before the attempt (a resume inside its event)."""
        self._write(message_id, text)
        self._seen.add(message_id)

    def complete(self, text: str, message_id: str) -> bool:
        """Append what `text` has beyond the stream; False if it does not begin with what was streamed."""
        shown = self.text
        if not text.startswith(shown):
            return False
        self._push_text(message_id, text[len(shown) :])
        return True

    def tool(self, tool_call_id: str, name: str, phase: ToolPhase, data: str | None = None) -> None:
        self._tool_steps += 1
        if self._tool_steps > MAX_TOOL_STEPS:
            raise AnswerTooLong(f"the turn took more than {MAX_TOOL_STEPS} tool steps")
        shown = None if data is None else well_formed(data)
        self._push(ToolPart(self.length, well_formed(tool_call_id), well_formed(name), phase, shown))

    def step(self, method: str, namespace: tuple[str, ...], data: bytes) -> None:
        """`data`: JSON."""
        if self._steps == MAX_STEPS:
            raise AnswerTooLong(f"the turn showed more than {MAX_STEPS} steps beside its text")
        self._push_step(StepPart(self.length, method, namespace, data))

    def mirror(self, parts: Sequence[Part]) -> bool:
        """Take over what follows in the stream of an attempt that runs elsewhere, as it is; all of it, or nothing.
        False: it does not go on where this stream ends, or is not what a stream may hold."""
        length, tool_steps, steps = self.length, self._tool_steps, self._steps
        for part in parts:
            if part.offset != length:
                return False
            if isinstance(part, ToolPart):
                tool_steps += 1
                continue
            if isinstance(part, StepPart):
                if part.data is not None and not _is_json(part.data):
                    return False
                steps += 1
                continue
            size = units(part.text)
            if not 0 < size <= MAX_PART_UNITS or "\x00" in part.text:
                return False
            length += size
        if length > MAX_UNITS or tool_steps > MAX_TOOL_STEPS or steps > MAX_STEPS:
            return False
        for part in parts:
            if isinstance(part, StepPart):
                self._push_step(part)
            else:
                self._push(part)
        self.length, self._tool_steps = length, tool_steps
        return True

    def after(self, offset: int) -> list[Part]:
        """What a reader lacks that shows `offset` units: the rest of the text, then everything beside it."""
        index = bisect_right(self._starts, offset)
        lacking: list[Part] = []
        if index:
            part = self.parts[index - 1]
            if isinstance(part, TextPart) and (rest := cut(part.text, offset - part.offset)):
                lacking.append(TextPart(part.offset + units(part.text) - units(rest), rest, part.message_id))
        lacking += (part for part in self.parts[index:] if isinstance(part, TextPart))
        lacking += (part for part in self.parts if not isinstance(part, TextPart))
        return lacking

    def beyond(self, position: int) -> tuple[list[Part], Place]:
        """What a reader lacks that was given everything up to `position` (see `Place`), and the place where it stands:
        at most there. Inside a surrogate pair, or beyond the end, it stands before."""
        sides = 0
        for index, part in enumerate(self.parts):
            end = part.offset + sides + (units(part.text) if isinstance(part, TextPart) else 1)
            if end > position:
                if isinstance(part, TextPart) and position > part.offset + sides:
                    rest = cut(part.text, position - part.offset - sides)
                    part = TextPart(part.offset + units(part.text) - units(rest), rest, part.message_id)  # noqa: PLW2901
                return [part, *self.parts[index + 1 :]], Place(part.offset, sides)
            sides += not isinstance(part, TextPart)
        return [], Place(self.length, sides)

    def _write(self, message_id: str, chunk: str) -> None:
        text = well_formed(chunk)
        if text and self.length and not self._continues(message_id):
            text = BETWEEN_MESSAGES + text
        self._push_text(message_id, text)

    def _push_text(self, message_id: str, text: str) -> None:
        if self.length + units(text) > MAX_UNITS:
            raise AnswerTooLong(f"the answer is longer than {MAX_UNITS} UTF-16 units")
        while text:
            rest = cut(text, MAX_PART_UNITS) if len(text) > MAX_PART_UNITS // 2 else ""
            piece = text[: len(text) - len(rest)]
            self._push(TextPart(self.length, piece, message_id))
            self.length += units(piece)
            text = rest

    def _continues(self, message_id: str) -> bool:
        for part in reversed(self.parts):
            if isinstance(part, TextPart):
                return part.message_id == message_id
        return False

    def _push_step(self, part: StepPart) -> None:
        self._steps += 1
        if part.data is not None:
            self._step_bytes += len(part.data)
            self._steps_held.append(len(self.parts))
        self._push(part)
        while self._step_bytes > MAX_STEP_BYTES and len(self._steps_held) > 1:
            index = self._steps_held.popleft()
            oldest = self.parts[index]
            assert isinstance(oldest, StepPart)
            self._step_bytes -= len(oldest.data or b"")
            self.parts[index] = without_data(oldest)

    def _push(self, part: Part) -> None:
        self.parts.append(part)
        self._starts.append(part.offset)


def without_data(step: StepPart) -> StepPart:
    return StepPart(step.offset, step.method, step.namespace, None)


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
