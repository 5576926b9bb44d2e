"""I6 between sockets: whoever was shown a place of an attempt's text was shown the same there, and so says its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from msgspec import Struct

from tests.checker.history import Effect, Frame, Violation, units
from tests.checker.threads import Talk, Thread

KEEP_TEXT = frozenset({"send_message", "cancel_turn"})


class Piece(Struct, frozen=True):
    """Two bytes a code unit; places count code units."""

    begin: int
    text: bytes
    teller: str
    frame: Frame

    @property
    def end(self) -> int:
        return self.begin + len(self.text) // 2


def text_violations(talk: Talk, thread: Thread) -> Iterator[Violation]:
    shown: defaultdict[int, list[Piece]] = defaultdict(list)
    for socket, line in talk.told.get("token", ()):
        frame = line.frame
        shown[frame["attempt"]].append(Piece(frame["offset"], units(frame["value"]), socket.name, frame))
    for pieces in shown.values():
        pieces.sort(key=lambda piece: piece.begin)
        yield from _contradictions(thread, pieces)
    for row in thread.logged:
        told = shown.get(row.payload.get("attempt", 0))
        rolled_back = row.type == "cancel_turn" and not row.payload.get("text")
        if told and row.type in KEEP_TEXT and not row.payload.get("revised") and not rolled_back:
            yield from _against_the_end(thread, told, row)


def _contradictions(thread: Thread, pieces: list[Piece]) -> Iterator[Violation]:
    """Pieces by where they begin: one that overlaps the text so far must repeat it."""
    start, text = 0, bytearray()
    for number, piece in enumerate(pieces):
        end = start + len(text) // 2
        if piece.begin > end or not text:
            start, text = piece.begin, bytearray(piece.text)
            continue
        known = text[2 * (piece.begin - start) :][: len(piece.text)]
        if known != piece.text[: len(known)]:
            place = piece.begin + _first_difference(known, piece.text)
            other = next(one for one in pieces[:number] if one.begin <= place < one.end)
            what = f"{piece.teller} and {other.teller} differ at {place} of the same attempt's text"
            yield Violation("I6", thread.thread_id, what, (other.frame, piece.frame))
            return
        text += piece.text[len(known) :]


def _against_the_end(thread: Thread, pieces: list[Piece], row: Effect) -> Iterator[Violation]:
    stored = units(row.payload.get("text", ""))
    for piece in pieces:
        there = stored[2 * piece.begin : 2 * piece.end]
        if there != piece.text[: len(there)]:
            place = piece.begin + _first_difference(there, piece.text)
            what = f"the stored end and {piece.teller} differ at {place} of the same attempt's text"
            yield Violation("I6", thread.thread_id, what, (row, piece.frame))
            break
    length = len(stored) // 2
    if max(piece.end for piece in pieces) > length:
        what = f"attempt {row.payload['attempt']}: more was shown than the {length} units of its end"
        yield Violation("I6", thread.thread_id, what, (row,))


def _first_difference(one: bytes | bytearray, two: bytes | bytearray) -> int:
    """In code units; both have a place where they differ."""
    return next(i for i in range(min(len(one), len(two)) // 2) if one[2 * i : 2 * i + 2] != two[2 * i : 2 * i + 2])
