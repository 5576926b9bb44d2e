"""Laws between sockets, and between what was said and what is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from tests.checker.history import DURABLE, Effect, Frame, Socket, Thread, Violation, units

KINDS = {
    "send_message": "final",
    "request_input": "question",
    "close_question": "answered",
    "cancel_turn": "cancelled",
    "report_failure": "error",
}
LIVE = frozenset({"reset", "token", "tool"})


def agreement_violations(sockets: Sequence[Socket], thread: Thread) -> Iterator[Violation]:
    """`sockets`: every connection to this thread."""
    yield from _receipts(sockets, thread)
    yield from _bodies(sockets, thread)
    for socket in sockets:
        yield from _durability(socket, thread)
    yield from _attempts(sockets, thread)
    yield from _texts(sockets, thread)


def _frames(sockets: Iterable[Socket], *kinds: str) -> Iterator[tuple[Socket, Frame]]:
    return ((socket, frame) for socket in sockets for frame in socket.received() if frame["type"] in kinds)


def _receipts(sockets: Sequence[Socket], thread: Thread) -> Iterator[Violation]:
    """I1: what was accepted is stored under the number that was told. I2: and was new at most once."""
    new: dict[str, Frame] = {}
    for socket, frame in _frames(sockets, "accepted", "user"):
        request = frame["requestId"]
        event = thread.event_of(request)
        if event is None:
            law = "I1" if frame["type"] == "accepted" else "I7"
            yield Violation(
                law, thread.thread_id, f"{socket.name}: {request} was {_told(frame)}, and is not stored", (frame,)
            )
        elif event.seq != frame["seq"]:
            what = f"{socket.name}: {request} was {_told(frame)} as {frame['seq']}, and is event {event.seq}"
            yield Violation("I2", thread.thread_id, what, (frame, event))
        if frame["type"] == "accepted" and not frame["duplicate"]:
            if request in new:
                yield Violation("I2", thread.thread_id, f"{request} was accepted as new twice", (new[request], frame))
            new[request] = frame


def _told(frame: Frame) -> str:
    return "accepted" if frame["type"] == "accepted" else "shown as said"


def _bodies(sockets: Sequence[Socket], thread: Thread) -> Iterator[Violation]:
    """I2: what is stored is what somebody sent, and a socket that sent only another body is not told `accepted`."""
    said: dict[str, list[tuple[Socket, Frame]]] = defaultdict(list)
    for socket in sockets:
        for frame in socket.sent():
            if frame.get("type") in {"message", "respond"}:
                said[frame["requestId"]].append((socket, _body(frame)))
    for request, sayings in said.items():
        event = thread.event_of(request)
        if event is None:
            continue
        stored = {name: value for name, value in event.payload.items() if name != "type"}
        if all(body != stored for _, body in sayings):
            what = f"{request} is stored with a body that nobody sent"
            yield Violation("I2", thread.thread_id, what, (event, *(body for _, body in sayings)))
        for socket in {socket.name: socket for socket, _ in sayings}.values():
            mine = [body for sender, body in sayings if sender is socket]
            told = [frame for _, frame in _frames([socket], "accepted") if frame["requestId"] == request]
            if told and stored not in mine:
                what = f"{socket.name}: {request} was accepted, but another body is stored"
                yield Violation("I2", thread.thread_id, what, (event, *mine, *told))


def _body(frame: Frame) -> Frame:
    if frame["type"] == "message":
        replaced = {"replaces": frame["replaces"]} if frame.get("replaces") is not None else {}
        return {"content": frame.get("content")} | replaced
    return {"interrupt_id": frame.get("interruptId"), "value": frame.get("value")}


def _durability(socket: Socket, thread: Thread) -> Iterator[Violation]:
    """I7: nothing leaves before its event is durable; no durable frame before its commit."""
    log = {row.log_index: row for row in thread.logged()}
    for frame in socket.received():
        request, cursor = frame.get("requestId"), frame.get("cursor")
        if request and (cursor is not None or frame["type"] in LIVE) and thread.event_of(request) is None:
            what = f"{socket.name}: {frame['type']} of {request}, which is not stored"
            yield Violation("I7", thread.thread_id, what, (frame,))
        if cursor is None or frame["type"] not in DURABLE:
            continue
        row = log.get(cursor)
        if row is None:
            if thread.session is None or cursor > thread.session.log_floor:
                what = f"{socket.name}: {frame['type']} with cursor {cursor}, which was never committed"
                yield Violation("I7", thread.thread_id, what, (frame,))
        elif (difference := _difference(frame, row, thread)) is not None:
            what = f"{socket.name}: cursor {cursor} is not what is stored: {difference}"
            yield Violation("I7", thread.thread_id, what, (frame, row))


def _difference(frame: Frame, row: Effect, thread: Thread) -> str | None:
    if KINDS.get(row.type, frame["type"]) != frame["type"]:
        return f"a {row.type}"
    event = thread.event_of(frame.get("requestId", ""))
    if event is not None and event.seq != row.event_seq:
        return f"of event {row.event_seq}"
    for field, stored in (("message", "text"), ("code", "code"), ("interruptId", "interrupt_id")):
        if row.type in KINDS and field in frame and stored in row.payload and frame[field] != row.payload[stored]:
            return f"{stored} is {row.payload[stored]!r}"
    return None


def _attempts(sockets: Sequence[Socket], thread: Thread) -> Iterator[Violation]:
    """I6: attempts are counted over the thread: none belongs to two events, and later events have later ones."""
    belongs: dict[int, tuple[int, Frame]] = {}
    for socket, frame in _frames(sockets, "reset", "token", "tool", "final"):
        event = thread.event_of(frame["requestId"])
        if event is None:
            continue
        if thread.session and frame["attempt"] > thread.session.run:
            what = f"{socket.name}: attempt {frame['attempt']} was never counted: run is {thread.session.run}"
            yield Violation("I6", thread.thread_id, what, (frame,))
        seq, first = belongs.setdefault(frame["attempt"], (event.seq, frame))
        if seq != event.seq:
            what = f"attempt {frame['attempt']} belongs to events {seq} and {event.seq}"
            yield Violation("I6", thread.thread_id, what, (first, frame))
    for (before, (one, frame)), (after, (two, other)) in pairwise(sorted(belongs.items())):
        if two < one:
            what = f"event {two} ran as attempt {after}, after event {one} had run as {before}"
            yield Violation("I3", thread.thread_id, what, (frame, other))


def _texts(sockets: Sequence[Socket], thread: Thread) -> Iterator[Violation]:
    """I6: whoever was shown a place of an attempt's text was shown the same there, and so says the durable final."""
    shown: dict[int, dict[int, tuple[bytes, str]]] = defaultdict(dict)
    for socket, frame in _frames(sockets, "token"):
        yield from _compare(thread, shown[frame["attempt"]], frame["offset"], frame["value"], socket.name, frame)
    for row in thread.logged():
        text = shown.get(row.payload.get("attempt", 0))
        if row.type not in {"send_message", "cancel_turn"} or text is None or row.payload.get("revised"):
            continue
        if row.type == "cancel_turn" and not row.payload["text"]:
            continue  # rolled back: nothing of it stays
        yield from _compare(thread, dict(text), 0, row.payload["text"], "the stored end", row)
        if max(text) >= (length := len(units(row.payload["text"])) // 2):
            what = f"attempt {row.payload['attempt']}: more was shown than the {length} units of its end"
            yield Violation("I6", thread.thread_id, what, (row,))


def _compare(
    thread: Thread, text: dict[int, tuple[bytes, str]], offset: int, value: str, who: str, evidence: Any
) -> Iterator[Violation]:
    encoded = units(value)
    for place in range(len(encoded) // 2):
        unit = encoded[2 * place : 2 * place + 2]
        known, teller = text.setdefault(offset + place, (unit, who))
        if known != unit:
            what = f"{who} and {teller} differ at {offset + place} of the same attempt's text"
            yield Violation("I6", thread.thread_id, what, (evidence,))
            return
