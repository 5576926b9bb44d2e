"""The provisional output of one running attempt: one text, and what is shown beside it, tool calls and other steps.

Positions count UTF-16 code units of the attempt's one text (protocol, rule 2). Appending makes text
well-formed once, for the stream and for everything derived from it: a trailing high surrogate waits for the
next chunk, unpaired ones and U+0000 become U+FFFD.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from unbroken.domain.errors import AnswerTooLong
from unbroken.domain.growing import GROWS, MAX_PART_UNITS, Growing, Said, said_in
from unbroken.domain.stream_parts import (
    BETWEEN_MESSAGES,
    Held,
    Part,
    Place,
    StepPart,
    TextPart,
    ToolPart,
    ToolPhase,
    as_told,
    sides_of,
    step_of,
    width,
    without_data,
)
from unbroken.domain.utf16 import cut, units, well_formed

MAX_UNITS = 1 << 20
MAX_TOOL_STEPS = 1_000
MAX_STEPS = 1 << 20
MAX_GROWN_UNITS = 1 << 22
"""Of what is thought and said aside, each in at most as many pieces as there may be steps: more is not shown. With all
other bounds, a place stays below 2^23 (`agent_protocol/positions.py` numbers them)."""
MAX_STEP_BYTES = 16 << 20
"""Of all steps' data; beyond, the oldest steps lose theirs: a snapshot of long ago that a later one has replaced, or
the beginning of a long thought."""
STEP_BYTES = 200
"""About what a step takes beside its data."""
_offset: Final = attrgetter("offset")


class LiveStream:
    """Append-only and shared: a connection is a position in `parts`, never a queue of its own. Only what grows is not
    said once: a reader also has its place in that.

    Bounded at 1 Mi units, 1,000 tool steps and 1 Mi others; beyond, appending raises AnswerTooLong. What is thought
    and said aside never does: its oldest goes first. While one message streams, the chunks of others wait until it is
    closed.
    """

    __slots__ = (
        "_ended",
        "_grown",
        "_growths",
        "_held",
        "_high",
        "_inner_tool_steps",
        "_open",
        "_seen",
        "_side_at",
        "_side_places",
        "_step_bytes",
        "_steps",
        "_steps_held",
        "_tool_steps",
        "_waiting",
        "length",
        "parts",
        "sides",
    )

    def __init__(self) -> None:
        self.parts: list[Held] = []
        self.length = 0
        """Of the text."""
        self.sides = 0
        """See `Place`."""
        self._side_at = array("I")
        """Where in `parts` that stands which is no text, and at which place."""
        self._side_places = array("I")
        self._tool_steps = 0
        self._inner_tool_steps = 0
        """Of subgraphs."""
        self._steps = 0
        self._grown = 0
        """Units of what grows, and in how many pieces."""
        self._growths = 0
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
        gone = self._steps + self._growths - len(self._steps_held)
        return self.length + self._step_bytes + 100 * (len(self.parts) - gone) + 16 * gone

    @property
    def position(self) -> int:
        """Its end: see `Place`."""
        return self.length + self.sides

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

    def tool(
        self,
        tool_call_id: str,
        name: str,
        phase: ToolPhase,
        data: str | None = None,
        namespace: tuple[str, ...] = (),
    ) -> None:
        if namespace:
            if self._inner_tool_steps == MAX_TOOL_STEPS:
                return  # of subgraphs, as of what they say aside, more is not shown
            self._inner_tool_steps += 1
        else:
            self._tool_steps += 1
            if self._tool_steps > MAX_TOOL_STEPS:
                raise AnswerTooLong(f"the turn took more than {MAX_TOOL_STEPS} tool steps")
        shown = None if data is None else well_formed(data)
        self._push_side(ToolPart(self.length, well_formed(tool_call_id), well_formed(name), phase, shown, namespace))

    def step(self, method: str, namespace: tuple[str, ...], data: bytes) -> None:
        """`data`: JSON."""
        if (said := said_in(method, data)) is not None:
            self._grow(method, namespace, said)
            return
        if self._steps == MAX_STEPS:
            raise AnswerTooLong(f"the turn showed more than {MAX_STEPS} steps beside its text")
        self._push_step(StepPart(self.length, method, namespace, data))

    def mirror(self, parts: Sequence[Part]) -> bool:
        """Take over what follows in the stream of an attempt that runs elsewhere, as it is; all of it, or nothing.
        False: it does not go on where this stream ends, or is not what a stream may hold."""
        if not self._goes_on_with(parts):
            return False
        for part in parts:
            if isinstance(part, TextPart):
                self._push(part)
                self.length += units(part.text)
            elif isinstance(part, ToolPart):
                if part.namespace:
                    self._inner_tool_steps += 1
                else:
                    self._tool_steps += 1
                self._push_side(part)
            elif part.data is not None and (said := said_in(part.method, part.data)) is not None:
                self._grow(part.method, part.namespace, said)
            else:
                self._push_step(part)
        return True

    def _goes_on_with(self, parts: Sequence[Part]) -> bool:
        length, steps, grown = self.length, self._steps, self._grown
        tool_steps = {True: self._tool_steps, False: self._inner_tool_steps}
        for part in parts:
            if part.offset != length:
                return False
            if isinstance(part, ToolPart):
                tool_steps[not part.namespace] += 1
            elif isinstance(part, StepPart):
                sides = sides_of(part)
                if sides is None:
                    return False
                if part.method in GROWS:
                    grown += sides
                else:
                    steps += 1
            else:
                size = units(part.text)
                if not 0 < size <= MAX_PART_UNITS or "\x00" in part.text:
                    return False
                length += size
        within = length <= MAX_UNITS and max(tool_steps.values()) <= MAX_TOOL_STEPS
        return within and steps <= MAX_STEPS and grown <= MAX_GROWN_UNITS

    def after(self, offset: int) -> list[Part]:
        """What a reader lacks that shows `offset` units: the rest of the text, then everything beside it."""
        index = bisect_right(self.parts, offset, key=_offset)
        lacking: list[Part] = []
        if index:
            part = self.parts[index - 1]
            if isinstance(part, TextPart) and (rest := cut(part.text, offset - part.offset)):
                lacking.append(TextPart(part.offset + units(part.text) - units(rest), rest, part.message_id))
        lacking += (part for part in self.parts[index:] if isinstance(part, TextPart))
        lacking += (as_told(self.parts[index]) for index in self._side_at)
        return lacking

    def beyond(self, position: int) -> tuple[list[Part], Place]:
        """What a reader lacks that was given everything up to `position` (see `Place`), and the place where it stands:
        at most there. Inside a surrogate pair, or beyond the end, it stands before."""
        index, sides = self._at(position)
        if index == len(self.parts):
            return [], Place(self.length, sides)
        part = self.parts[index]
        seen = position - part.offset - sides
        following = [as_told(one) for one in self.parts[index + 1 :]]
        if isinstance(part, Growing):
            rest = step_of(part, seen)
            return [rest, *following], Place(part.offset, sides + part.length - rest.sides)
        if isinstance(part, TextPart) and seen > 0:
            text = cut(part.text, seen)
            part = TextPart(part.offset + units(part.text) - units(text), text, part.message_id)
        return [part, *following], Place(part.offset, sides)

    def _at(self, position: int) -> tuple[int, int]:
        """Which part holds that place, and the sides before it. The end, if none does."""
        last = bisect_right(self._side_places, position) - 1
        first, sides = 0, 0
        if last >= 0:
            at = self._side_at[last]
            part = self.parts[at]
            sides = self._side_places[last] - part.offset
            if self._side_places[last] + width(part) > position:
                return at, sides
            first, sides = at + 1, sides + width(part)
        behind = self._side_at[last + 1] if last + 1 < len(self._side_at) else len(self.parts)
        index = bisect_right(self.parts, position - sides, first, behind, key=_offset) - 1
        if index >= first:
            part = self.parts[index]
            if part.offset + sides + width(part) > position:
                return index, sides
        return behind, sides

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

    def _grow(self, method: str, namespace: tuple[str, ...], said: Said) -> None:
        text = said.text
        while text:
            rest = cut(text, MAX_PART_UNITS) if len(text) > MAX_PART_UNITS // 2 else ""
            piece = text[: len(text) - len(rest)]
            length = units(piece)
            if self._grown + length > MAX_GROWN_UNITS:
                return  # nobody reads that much of what is no answer
            growing = self.parts[-1] if self.parts else None
            if not (isinstance(growing, Growing) and growing.takes(method, namespace, said.message_id, length)):
                if self._growths == MAX_STEPS:
                    return
                growing = Growing(self.length, method, namespace, said.message_id)
                self._growths += 1
                self._hold_step(STEP_BYTES)
                self._push_side(growing, 0)
            self._step_bytes += growing.add(piece, length)
            self._grown += length
            self.sides += length
            text = rest
        self._let_go()

    def _push_step(self, part: StepPart) -> None:
        if part.method in GROWS:
            self._growths += 1
            self._grown += part.sides
        else:
            self._steps += 1
        if part.data is not None:
            self._hold_step(STEP_BYTES + len(part.data))
        self._push_side(part, part.sides)
        self._let_go()

    def _hold_step(self, size: int) -> None:
        self._step_bytes += size
        self._steps_held.append(len(self.parts))

    def _let_go(self) -> None:
        while self._step_bytes > MAX_STEP_BYTES and len(self._steps_held) > 1:
            index = self._steps_held.popleft()
            oldest = self.parts[index]
            assert isinstance(oldest, StepPart | Growing)
            self._step_bytes -= STEP_BYTES + (oldest.size if isinstance(oldest, Growing) else len(oldest.data or b""))
            gone = without_data(oldest)
            before = self.parts[index - 1] if index else None
            self.parts[index] = before if isinstance(before, StepPart) and before == gone else gone

    def _push_side(self, part: Held, sides: int = 1) -> None:
        self._side_at.append(len(self.parts))
        self._side_places.append(self.length + self.sides)
        self.sides += sides
        self.parts.append(part)

    def _push(self, part: TextPart) -> None:
        self.parts.append(part)
