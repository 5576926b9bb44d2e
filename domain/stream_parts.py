"""What a live stream consists of, and how far each part of it takes a reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from unbroken.domain.growing import GROWS, MAX_PART_UNITS, Growing, said_in
from unbroken.domain.utf16 import units

BETWEEN_MESSAGES = "\n\n"

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
    namespace: tuple[str, ...] = ()
    """As in `StepPart`."""


class StepPart(Struct, frozen=True, array_like=True, tag="step"):
    """Anything else that a run shows beside its text.

    `custom`: what a node wrote with LangGraph's stream writer; `reasoning` and `aside` (text of a subgraph's message),
    which grow: {"messageId", "text"}. Of a rich run also what LangGraph's stream modes yield, by their names.
    """

    offset: int
    method: str
    namespace: tuple[str, ...]
    """The subgraph it comes from, outermost first; empty: the root graph."""
    data: bytes | None
    """JSON. None: let go of."""
    sides: int = 1
    """How far it takes a reader: of what grows, units of text."""


Part = TextPart | ToolPart | StepPart
Held = Part | Growing
P = TypeVar("P", bound=Held)


class Place(Struct, frozen=True, order=True):
    """How far an attempt's stream was read: the same wherever it is read, however its parts were merged."""

    units: int
    """Of text."""
    sides: int
    """Beside it: units of what grows there, and tool and other steps."""

    @property
    def position(self) -> int:
        """One number that grows with each part."""
        return self.units + self.sides


def merged(parts: Sequence[P], position: int) -> tuple[P | TextPart, int]:
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


def all_merged(parts: Sequence[Part]) -> list[Part]:
    found: list[Part] = []
    index = 0
    while index < len(parts):
        part, index = merged(parts, index)
        found.append(part)
    return found


def join_messages(texts: list[str]) -> str:
    """An attempt's one text from its messages' texts."""
    return BETWEEN_MESSAGES.join(text for text in texts if text)


def step_of(growing: Growing, seen: int) -> StepPart:
    """What it holds now beyond so many units."""
    data, sides = growing.data(seen)
    return StepPart(growing.offset, growing.method, growing.namespace, data, sides)


def width(part: Held) -> int:
    """How many positions it takes (`Place`)."""
    if isinstance(part, TextPart):
        return units(part.text)
    return 1 if isinstance(part, ToolPart) else part.length if isinstance(part, Growing) else part.sides


def without_data(step: StepPart | Growing) -> StepPart:
    return StepPart(step.offset, step.method, step.namespace, None, width(step))


def as_told(part: Held) -> Part:
    """As it is now."""
    return step_of(part, 0) if isinstance(part, Growing) else part


def sides_of(step: StepPart) -> int | None:
    """How far it takes a reader, by what it holds. None: it is not what a stream may hold."""
    if step.data is None:
        return step.sides if 0 < step.sides <= (MAX_PART_UNITS if step.method in GROWS else 1) else None
    if step.method in GROWS:
        said = said_in(step.method, step.data)
        return None if said is None or not said.text else units(said.text)
    return 1 if _is_json(step.data) else None


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
