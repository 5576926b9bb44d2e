"""Laws between sockets, and between what was said and what is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec

from tests.checker.history import DURABLE, Effect, Event, Frame, History, Socket, Violation
from tests.checker.texts import text_violations
from tests.checker.threads import FROM_USERS, Talk, Thread

KINDS = {
    "send_message": "final",
    "request_input": "question",
    "close_question": "answered",
    "cancel_turn": "cancelled",
    "report_failure": "error",
}
LIVE = frozenset({"reset", "token", "tool", "custom", "reasoning", "aside"})
OF_EVENTS = (*LIVE, *DURABLE)
SAID = (("content", "content"), ("replaces", "replaces"), ("interruptId", "interrupt_id"), ("value", "value"))
SHOWN = (
    ("message", "text"),
    ("code", "code"),
    ("interruptId", "interrupt_id"),
    ("value", "value"),
    ("outcome", "outcome"),
    ("attempt", "attempt"),
    ("waiting", "waiting"),
    ("revised", "revised"),
)
"""Fields of a frame, and the columns that they repeat."""
NEVER_STORED = frozenset(
    {"queue_full", "busy", "too_long", "empty", "wrong_thread", "unknown_file", "too_many_threads"}
)
"""Refusals of a message that leave no doubt. `unavailable` does, and a few others may answer another frame."""


def agreement_violations(history: History, talk: Talk, thread: Thread) -> Iterator[Violation]:
    yield from _receipts(talk, thread)
    yield from _bodies(talk, thread, history.otherwise)
    yield from _otherwise(history, thread)
    yield from _refused(talk, thread)
    if history.complete:  # nobody but these clients said anything
        yield from _unsaid(talk, thread, history.otherwise)
    yield from _durability(talk, thread)
    yield from _attempts(talk, thread)
    yield from text_violations(talk, thread)


def _frames(talk: Talk, *kinds: str) -> Iterator[tuple[Socket, Frame]]:
    return ((socket, line.frame) for kind in kinds for socket, line in talk.told.get(kind, ()))


def _receipts(talk: Talk, thread: Thread) -> Iterator[Violation]:
    """I1: what was accepted is stored under the number that was told. I2: and was new at most once."""
    new: dict[str, Frame] = {}
    for socket, frame in _frames(talk, "accepted", "user"):
        request = frame["requestId"]
        event = thread.by_request.get(request)
        if event is None:
            law = "I1" if frame["type"] == "accepted" else "I7"
            yield Violation(
                law, thread.thread_id, f"{socket.name}: {request} was {_told(frame)}, and is not stored", (frame,)
            )
        elif event.seq != frame["seq"]:
            what = f"{socket.name}: {request} was {_told(frame)} as {frame['seq']}, and is event {event.seq}"
            yield Violation("I2", thread.thread_id, what, (frame, event))
        elif any(frame.get(field, _stored(event, stored)) != _stored(event, stored) for field, stored in SAID):
            what = f"{socket.name}: {request} is shown as what nobody said"
            yield Violation("I7", thread.thread_id, what, (frame, event))
        if frame["type"] == "accepted" and not frame["duplicate"]:
            if request in new:
                yield Violation("I2", thread.thread_id, f"{request} was accepted as new twice", (new[request], frame))
            new[request] = frame


def _stored(event: Event, field: str) -> Any:
    """As people see it: a run says what its input's last message says, or all of what it was given."""
    if event.type != "run_start" or field != "content":
        return event.payload.get(field)
    given = event.payload.get("input")
    if given is None:
        return msgspec.json.encode(event.payload.get("command")).decode()
    return given["messages"][-1]["content"]


def _told(frame: Frame) -> str:
    return "accepted" if frame["type"] == "accepted" else "shown as said"


def _bodies(talk: Talk, thread: Thread, otherwise: Mapping[str, object]) -> Iterator[Violation]:
    """I2: what is stored is what somebody sent, and a socket that sent only another body is not told `accepted`."""
    for request, sayings in talk.said.items():
        event = thread.by_request.get(request)
        if event is None or request in otherwise:
            continue
        stored = {name: value for name, value in event.payload.items() if name != "type"}
        others = [(socket, body) for socket, line in sayings if (body := _body(line.frame)) != stored]
        if not others:
            continue
        if len(others) == len(sayings):
            what = f"{request} is stored with a body that nobody sent"
            yield Violation("I2", thread.thread_id, what, (event, *(body for _, body in others)))
        right = {socket.name for socket, line in sayings if _body(line.frame) == stored}
        for socket in {socket.name: socket for socket, _ in others if socket.name not in right}.values():
            mine = [body for sender, body in others if sender is socket]
            told = [frame for at, frame in _frames(talk, "accepted") if at is socket and frame["requestId"] == request]
            if told:
                what = f"{socket.name}: {request} was accepted, but another body is stored"
                yield Violation("I2", thread.thread_id, what, (event, *mine, *told))


def _refused(talk: Talk, thread: Thread) -> Iterator[Violation]:
    """Rule 9: what is refused changes nothing. A request that was refused each time it was sent is not stored."""
    refusals: dict[str, list[Frame]] = {}
    for _, frame in _frames(talk, "error"):
        if frame["code"] in NEVER_STORED and "cursor" not in frame:
            refusals.setdefault(frame.get("requestId", ""), []).append(frame)
    for request, frames in refusals.items():
        event = thread.by_request.get(request)
        if event is not None and len(frames) >= len(talk.said.get(request, ())):
            what = f"{request} was refused each time it was sent, and is event {event.seq}"
            yield Violation("rule 9", thread.thread_id, what, (event, *frames))


def _otherwise(history: History, thread: Thread) -> Iterator[Violation]:
    """I1, I2: what was asked otherwise is stored as it was asked, and if it was confirmed, under that number."""
    for event in thread.events:
        asked = history.otherwise.get(event.request_id)
        if asked is not None and event.payload != asked:
            yield Violation("I2", thread.thread_id, f"{event.request_id} is stored with another body", (event, asked))
    for request, seq in history.confirmed.items():
        stored = thread.by_request.get(request)
        if request.startswith(f"{thread.thread_id}-") and (stored is None or stored.seq != seq):
            yield Violation("I1", thread.thread_id, f"{request} was confirmed as {seq}, and is not", (stored,))


def _unsaid(talk: Talk, thread: Thread, otherwise: Mapping[str, object]) -> Iterator[Violation]:
    """I2: every event of a user was sent by a user of this thread."""
    said = {*talk.said, *otherwise}
    for event in thread.events:
        if event.type in FROM_USERS and event.request_id not in said:
            yield Violation("I2", thread.thread_id, f"event {event.seq} was never sent by anyone here", (event,))


def _body(frame: Frame) -> Frame:
    if frame["type"] == "message":
        replaced = {"replaces": frame["replaces"]} if frame.get("replaces") is not None else {}
        return {"content": frame.get("content")} | replaced
    return {"interrupt_id": frame.get("interruptId"), "value": frame.get("value")}


def _durability(talk: Talk, thread: Thread) -> Iterator[Violation]:
    """I7: nothing leaves before its event is durable; no durable frame before its commit."""
    for socket, frame in _frames(talk, *OF_EVENTS):
        request, cursor = frame.get("requestId"), frame.get("cursor")
        if request and (cursor is not None or frame["type"] in LIVE) and request not in thread.by_request:
            what = f"{socket.name}: {frame['type']} of {request}, which is not stored"
            yield Violation("I7", thread.thread_id, what, (frame,))
    log = {row.log_index: row for row in thread.logged}
    floor = thread.session.log_floor if thread.session else 0
    for socket, frame in _frames(talk, *DURABLE):
        cursor = frame.get("cursor")
        if cursor is None:
            continue
        row = log.get(cursor)
        if row is None:
            if cursor > floor:
                what = f"{socket.name}: {frame['type']} with cursor {cursor}, which was never committed"
                yield Violation("I7", thread.thread_id, what, (frame,))
        elif (difference := _difference(frame, row, thread)) is not None:
            what = f"{socket.name}: cursor {cursor} is not what is stored: {difference}"
            yield Violation("I7", thread.thread_id, what, (frame, row))


def _difference(frame: Frame, row: Effect, thread: Thread) -> str | None:
    if KINDS.get(row.type, frame["type"]) != frame["type"]:
        return f"a {row.type}"
    event = thread.by_request.get(frame.get("requestId", ""))
    if event is not None and event.seq != row.event_seq:
        return f"of event {row.event_seq}"
    for field, stored in SHOWN:
        if row.type in KINDS and field in frame and stored in row.payload and frame[field] != row.payload[stored]:
            return f"{stored} is {row.payload[stored]!r}"
    return None


def _attempts(talk: Talk, thread: Thread) -> Iterator[Violation]:
    """I6: attempts are counted over the thread: none belongs to two events, and later events have later ones."""
    belongs: dict[int, tuple[int, Frame]] = {}
    for socket, frame in _frames(talk, "reset", "token", "tool", "final"):
        event = thread.by_request.get(frame["requestId"])
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
