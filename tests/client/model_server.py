"""The server's side of one thread, as the protocol says it and without anything behind it: no I/O, no agent.

Whoever drives it decides when an attempt starts, what it says and how it ends.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from unbroken.entrypoints.client.reducer import Conversation

Frame = dict[str, Any]
TOO_FAR = 500


class Reader:
    """One connection: frames on their way to a client."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.frames: deque[Frame] = deque()

    def receive(self, frame: Frame) -> None:
        """What the client sent."""
        if frame["type"] == "message":
            self.server.accept(self, frame)
        elif frame["type"] == "ack":
            self.server.acked.append(frame["cursor"])


class ModelServer:
    def __init__(self) -> None:
        self.readers: list[Reader] = []
        self.events: list[Frame] = []
        """The `user` frame of each accepted message, in `seq` order."""
        self.log: list[Frame] = []
        self.floor = 0
        """A cursor below it gets a gap."""
        self.kept = 0
        """The history begins above it."""
        self.applied = 0
        self.attempt = 0
        self.running = False
        self.text = ""
        self.tools: list[Frame] = []
        self.beside: list[Frame] = []
        """What the running attempt said beside its text, in order."""
        self.texts: dict[tuple[str, int], str] = {}
        """All that each attempt ever said."""
        self.acked: list[int] = []
        self.received = 0

    @property
    def request_id(self) -> str:
        """Of the event whose turn it is."""
        request_id: str = self.events[self.applied]["requestId"]
        return request_id

    @property
    def waiting(self) -> bool:
        return self.applied < len(self.events)

    def connect(self, query: dict[str, Any]) -> Reader:
        """Rule 4: the log after the cursor, then waiting events, then the running attempt."""
        reader = Reader(self)
        cursor = int(query.get("cursor", 0))
        reason = "unknown_cursor" if cursor > len(self.log) else "retained" if cursor < self.floor else None
        if reason:
            reader.frames.append({"type": "gap", "cursor": len(self.log), "reason": reason})
            cursor = len(self.log)
        for end in self.log[cursor:]:
            reader.frames += [self._user(end["requestId"]), end]
        reader.frames.extend(self.events[self.applied :])
        if self.running:
            self._join(reader, query)
        self.readers.append(reader)
        return reader

    def accept(self, reader: Reader, frame: Frame) -> None:
        self.received += 1
        request_id = frame["requestId"]
        known = next((event for event in self.events if event["requestId"] == request_id), None)
        seq = known["seq"] if known else len(self.events) + 1
        reader.frames.append({"type": "accepted", "requestId": request_id, "seq": seq, "duplicate": known is not None})
        if known is None:
            event = {"type": "user", "requestId": request_id, "seq": seq, "createdAt": "2026-11-01T00:00:00Z"}
            replaces = {"replaces": frame["replaces"]} if "replaces" in frame else {}
            self.events.append(event | {"content": frame["content"]} | replaces)
            self._tell(self.events[-1])

    def start(self, reason: str = "started") -> None:
        """Begin an attempt at the oldest waiting event; what an earlier attempt said is taken back."""
        self.attempt += 1
        self.running, self.text, self.tools, self.beside = True, "", [], []
        self.texts[self.request_id, self.attempt] = ""
        self._tell({"type": "reset", "requestId": self.request_id, "attempt": self.attempt, "reason": reason})

    def say(self, value: str) -> None:
        offset = _units(self.text)
        self.text += value
        self.texts[self.request_id, self.attempt] = self.text
        self._tell(self._token(offset, value))

    def use(self, tool_call_id: str, phase: str) -> None:
        tool = {"type": "tool", "requestId": self.request_id, "attempt": self.attempt, "offset": _units(self.text)}
        self.tools.append(tool | {"toolCallId": tool_call_id, "name": "search", "phase": phase})
        self._tell(self.tools[-1])

    def think(self, value: str) -> None:
        where = {"requestId": self.request_id, "attempt": self.attempt, "offset": _units(self.text), "namespace": []}
        kind: Frame = {"type": "custom"} if len(self.beside) % 3 == 2 else {"type": "reasoning", "messageId": "m"}
        self.beside.append(kind | where | {"value": value})
        self._tell(self.beside[-1])

    def finish(self) -> None:
        self._end({"type": "final", "message": self.text, "content": [], "attempt": self.attempt, "latencyMs": 7})

    def fail(self, code: str = "model_failed") -> None:
        self._end({"type": "error", "code": code, "message": "it failed", "retryable": False})

    def cancel(self) -> None:
        self._end({"type": "cancelled", "message": self.text})

    def branch(self) -> list[str]:
        """What a reader of the conversation as it stands sees."""
        shown: list[str] = []
        for event in self.events:
            if event.get("replaces") in shown:
                del shown[shown.index(event["replaces"]) :]
            shown.append(event["requestId"])
        return shown

    def forget(self) -> None:
        """Remove the log so far."""
        self.floor = self.kept = len(self.log)

    def history(self, before: int) -> dict[str, Any]:
        ends = self.log[self.kept : before - 1]
        messages = [frame for end in ends for frame in (self._user(end["requestId"]), end)]
        return {"messages": messages, "cursor": len(self.log), "before": None}

    def _join(self, reader: Reader, query: dict[str, Any]) -> None:
        offset = int(query.get("offset", 0))
        same = (query.get("requestId"), int(query.get("attempt", 0))) == (self.request_id, self.attempt)
        if not same or offset > _units(self.text):
            offset = 0
            reset = {"type": "reset", "requestId": self.request_id, "attempt": self.attempt, "reason": "resync"}
            reader.frames.append(reset)
        if rest := self.text.encode("utf-16-le")[2 * offset :].decode("utf-16-le"):
            reader.frames.append(self._token(offset, rest))
        reader.frames.extend(self.tools)
        reader.frames.extend(self.beside)

    def _token(self, offset: int, value: str) -> Frame:
        where = {"requestId": self.request_id, "attempt": self.attempt, "offset": offset}
        return {"type": "token", "value": value, "messageId": "m", **where}

    def _user(self, request_id: str) -> Frame:
        return next(event for event in self.events if event["requestId"] == request_id)

    def _end(self, frame: Frame) -> None:
        if frame["type"] == "final":
            frame |= {"origin": "user", "waiting": False, "revised": False}
        self.log.append(frame | {"requestId": self.request_id, "cursor": len(self.log) + 1})
        self._tell(self.log[-1])
        self.running = False
        self.applied += 1

    def _tell(self, frame: Frame) -> None:
        for reader in self.readers:
            reader.frames.append(frame)


def agrees(conversation: Conversation, server: ModelServer) -> None:
    """Everything shown is what the server holds, and nothing is left to say."""
    assert [turn.request_id for turn in conversation.turns] == [event["requestId"] for event in server.events]
    assert [turn.request_id for turn in conversation.branch()] == server.branch()
    assert conversation.unsent() == []
    assert conversation.cursor == len(server.log)
    for end in server.log:
        turn = conversation.turn(end["requestId"])
        assert turn is not None
        assert turn.outcome == {"final": "answered", "error": "failed", "cancelled": "cancelled"}[end["type"]]
        assert end["type"] == "error" or turn.text == end["message"]


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
