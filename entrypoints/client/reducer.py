"""The client's side of the chat protocol as a state machine: frames in, what is shown out. No I/O, no clock.

The twin of entrypoints/page/reducer.js; both run over the traces in tests/client/traces. What holds at all times:
a turn's text is a prefix of exactly one attempt, or its durable end; each durable frame counts once; whatever is
missing is asked for (`reconnect`, `missing`), never skipped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from unbroken.entrypoints.client.turn import Frame, Turn, place

Start = int | Literal["tail"] | None


class Conversation:
    """What one client knows of one thread.

    `start`: the cursor to begin with (0: from the log's beginning), "tail", or None for the old protocol.
    """

    def __init__(self, start: Start = 0) -> None:
        self._start = start
        self.cursor: int | None = start if isinstance(start, int) else None
        """Of the last durable frame presented: what to acknowledge. None: no such frame was seen."""
        self.turns: list[Turn] = []
        """In the order they are shown; messages not yet accepted come last."""
        self.reconnect: Literal["missing_cursor", "out_of_step"] | None = None
        """The socket cannot be believed any further: every frame is dropped until `connected`."""
        self.missing: dict[str, Any] | None = None
        """Log entries above `after`, up to and including `until`, are to be read from the history."""
        self.notice: dict[str, Any] | None = None
        """The last refusal that is no turn's end."""
        self._turns: dict[str, Turn] = {}

    # What the user does

    def send(self, request_id: str, content: Any, options: Mapping[str, Any] | None = None) -> Frame:
        """Show a message of ours as not yet accepted; returns the frame to send. `options`: `replaces`, `whenBusy`."""
        frame = {"type": "message", "requestId": request_id, "content": content, **(options or {})}
        return self._say(request_id, {"content": content}, frame)

    def respond(self, request_id: str, interrupt_id: str, value: Any) -> Frame:
        """Answer a question, with a new request id; returns the frame to send."""
        said = {"interruptId": interrupt_id, "value": value}
        return self._say(request_id, said, {"type": "respond", "requestId": request_id, **said})

    def cancel(self, request_id: str) -> Frame:
        """Ask to stop a turn; returns the frame to send."""
        if turn := self._turns.get(request_id):
            turn.cancel_wanted = not turn.ended
        return {"type": "cancel", "requestId": request_id}

    def discard(self, request_id: str) -> None:
        """Take back a message that has no receipt; one that was accepted all the same comes back with its `user`."""
        turn = self._turns.get(request_id)
        if turn and not turn.accepted:
            self._forget(turn)

    # What the connection asks and says

    def connected(self) -> None:
        """A socket was opened with the parameters of `resume`: the server names again whatever it still owes."""
        self.reconnect = None
        self._doubt()
        for turn in self.turns:
            turn.connected()

    def resume(self) -> dict[str, Any]:
        """The query parameters of the next connection: `cursor`, and where the running answer stands, if shown."""
        cursor: int | str | None = self._start if self.cursor is None else self.cursor
        query: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        running = [turn for turn in self.turns if turn.attempt and not turn.ended and not turn.out_of_step]
        if running:
            turn = max(running, key=lambda turn: turn.attempt)
            query |= {"requestId": turn.request_id, "attempt": turn.attempt, "offset": turn.length}
        return query

    def unsent(self) -> list[Frame]:
        """The frames that no answer has come to, in order: send them again on any socket of this thread."""
        return [frame for turn in self.turns for frame in turn.unsent()]

    def history(self, page: Mapping[str, Any]) -> None:
        """Take in one page of `GET /api/threads/{id}/messages`, newest page first."""
        if self.cursor is None:
            self.cursor = page["cursor"]
        users: dict[str, Frame] = {}
        for frame in page["messages"]:
            if frame["type"] == "user":
                users[frame["requestId"]] = frame
            elif frame["cursor"] <= self.cursor:
                self._recall(frame, users)
        if self.missing:
            self.missing["until"] = (page["before"] or 0) - 1
            if self.missing["until"] <= self.missing["after"]:
                self.missing = None

    # What the server says

    def apply(self, frame: Frame) -> None:
        """Take in one frame of the socket; frames of unknown types are ignored, but for their cursor."""
        if self.reconnect:
            return
        cursor = frame.get("cursor")
        if frame["type"] == "gap":
            self._gap(frame)
        elif cursor is None:
            if react := _PROVISIONAL.get(frame["type"]):
                react(self, frame)
        elif self.cursor is None or cursor == self.cursor + 1:
            self.cursor = cursor
            self._durable(frame)
        elif cursor > self.cursor:
            self.reconnect = "missing_cursor"

    def branch(self) -> list[Turn]:
        """What is shown: a turn that replaces another hides that one and everything after it up to itself."""
        before: dict[str, Turn | None] = {}
        last: Turn | None = None
        for turn in self.turns:
            if turn.replaces is None or not turn.forks:
                before[turn.request_id] = last
            else:  # what it replaces may be older than all that is known here
                before[turn.request_id] = before.get(turn.replaces)
            last = turn
        shown: list[Turn] = []
        while last is not None:
            shown.append(last)
            last = before[last.request_id]
        shown.reverse()
        return shown

    def view(self) -> dict[str, Any]:
        """All that is shown or asked for, as JSON values."""
        return {
            "cursor": self.cursor,
            "turns": [turn.view() for turn in self.turns],
            "branch": [turn.request_id for turn in self.branch()],
            "reconnect": self.reconnect,
            "missing": self.missing and dict(self.missing),
            "notice": self.notice,
            "resume": self.resume(),
            "unsent": self.unsent(),
        }

    def turn(self, request_id: str) -> Turn | None:
        return self._turns.get(request_id)

    def _say(self, request_id: str, said: dict[str, Any], frame: Frame) -> Frame:
        if request_id not in self._turns:
            turn = Turn(request_id)
            turn.said, turn.own, turn.replaces = said, frame, frame.get("replaces")
            self._insert(turn)
        return frame

    def _insert(self, turn: Turn) -> None:
        self._turns[turn.request_id] = turn
        self.turns.insert(place(turn, self.turns), turn)

    def _announced(self, frame: Frame, seq: int | None = None) -> Turn:
        """The turn a frame of the server belongs to: the server has it, so it is accepted."""
        turn = self._turns.get(frame["requestId"])
        if turn is None:
            turn = Turn(frame["requestId"])
            turn.seq, turn.cursor, turn.accepted = frame.get("seq", seq), frame.get("cursor"), True
            self._insert(turn)
        elif not turn.accepted:
            turn.accepted, turn.refused, turn.error = True, False, None
        turn.doubtful = False
        return turn

    def _numbered(self, turn: Turn, seq: int) -> None:
        if turn.seq != seq:
            turn.seq = seq
            self.turns.remove(turn)
            self.turns.insert(place(turn, self.turns), turn)

    def _accepted(self, frame: Frame) -> None:
        if frame["requestId"] in self._turns:
            self._numbered(self._announced(frame), frame["seq"])

    def _user(self, frame: Frame) -> None:
        turn = self._announced(frame)
        turn.told(frame)
        self._numbered(turn, frame["seq"])

    def _reset(self, frame: Frame) -> None:
        self._announced(frame).empty(frame["attempt"])

    def _token(self, frame: Frame) -> None:
        turn = self._announced(frame)
        if not turn.write(frame["attempt"], frame["offset"], frame["value"]):
            self.reconnect = "out_of_step"
        turn.aloud(frame["messageId"])

    def _tool(self, frame: Frame) -> None:
        self._announced(frame).use(frame)

    def _beside(self, frame: Frame) -> None:
        self._announced(frame).beside(frame)

    def _cancelling(self, frame: Frame) -> None:
        self._announced(frame).cancelling = True

    def _refusal(self, frame: Frame) -> None:
        error = {key: frame[key] for key in ("code", "message", "retryable", "requestId", "path") if key in frame}
        turn = self._turns.get(frame.get("requestId", ""))
        if turn is None or turn.accepted or turn.refused:
            self.notice = error
            if turn is not None and not frame["retryable"]:
                turn.cancel_wanted = False
            return
        turn.error = error
        turn.refused = not frame["retryable"]

    def _durable(self, frame: Frame) -> None:
        if frame["type"] == "answered":
            for turn in reversed(self.turns):
                if turn.close_question(frame["interruptId"], frame["outcome"]):
                    return
        elif frame["type"] in _DURABLE and "requestId" in frame:
            turn = self._announced(frame)
            turn.cursor = frame["cursor"] if turn.cursor is None else turn.cursor
            turn.end(frame)
        elif frame["type"] == "error":
            self._refusal(frame)

    def _recall(self, frame: Frame, users: Mapping[str, Frame]) -> None:
        """A durable frame from the history: it may be known already, and others may have come before it."""
        request_id = frame.get("requestId")
        if request_id is None:
            self._durable(frame)
            return
        user = users.get(request_id)
        turn = self._announced(frame, user["seq"] if user else None)
        if user:
            turn.told(user)
            self._numbered(turn, user["seq"])
        self._durable(frame)

    def _gap(self, frame: Frame) -> None:
        after = self.cursor or 0
        if frame["reason"] == "unknown_cursor":
            after, self.missing = 0, None
            for turn in list(self.turns):
                self._forget(turn)
                if turn.own and not turn.ended:
                    self._say(turn.request_id, turn.said, turn.own)
        self._doubt()
        if self.missing:
            after = self.missing["after"]
        self.missing = {"after": after, "until": frame["cursor"]} if frame["cursor"] > after else None
        self.cursor = frame["cursor"]

    def _doubt(self) -> None:
        for turn in self.turns:
            turn.doubtful = turn.accepted and not turn.ended

    def _forget(self, turn: Turn) -> None:
        self.turns.remove(turn)
        del self._turns[turn.request_id]


_PROVISIONAL: Final[Mapping[str, Callable[[Conversation, Frame], None]]] = {
    "accepted": Conversation._accepted,
    "user": Conversation._user,
    "reset": Conversation._reset,
    "token": Conversation._token,
    "tool": Conversation._tool,
    "custom": Conversation._beside,
    "reasoning": Conversation._beside,
    "aside": Conversation._beside,
    "cancelling": Conversation._cancelling,
    "error": Conversation._refusal,
}
_DURABLE: Final = frozenset({"final", "question", "cancelled", "error"})
