"""What an attentive reader of docs/protocol.md shows, and every rule it saw broken.

Written from the protocol alone, without the product's reducer, so that the two can disagree.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

Frame = dict[str, Any]
ENDS = frozenset({"final", "cancelled", "error"})
BESIDE = frozenset({"custom", "reasoning", "aside"})
DURABLE = ENDS | {"question", "answered"}


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


class View:
    def __init__(self, cursor: int | None = 0) -> None:
        """`cursor` None: the old protocol; what it may see is checked elsewhere."""
        self.cursor = cursor
        self.shown: dict[str, str] = {}
        """Request id → the text on the screen, provisional or durable."""
        self.attempts: dict[str, int] = {}
        self.receipts: dict[str, int] = {}
        """Request id → `seq`, for messages of ours."""
        self.users: dict[str, Frame] = {}
        self.ends: dict[str, Frame] = {}
        self.log: list[Frame] = []
        """Durable frames, in the order they came."""
        self.tools: dict[str, dict[str, Frame]] = {}
        self.beside: dict[str, list[Frame]] = {}
        """Request id → custom data, reasoning and asides of its attempt, as this connection told them."""
        self.gaps: list[Frame] = []
        self.refusals: list[Frame] = []
        self.frames: list[Frame] = []
        self.faults: list[str] = []
        """Rules of the protocol that the server broke."""
        self._own: AbstractSet[str] = frozenset()
        self._announced: set[str] = set()
        self._begun: dict[str, int] = {}
        self._received: set[str] = set()

    def resume(self) -> dict[str, str]:
        """Query parameters of the next connection."""
        if self.cursor is None:
            return {}
        query = {"cursor": str(self.cursor)}
        running = [request for request in self.attempts if request not in self.ends]
        if running:
            request = max(running, key=self.attempts.__getitem__)
            offset = units(self.shown.get(request, ""))
            query |= {"requestId": request, "attempt": str(self.attempts[request]), "offset": str(offset)}
        return query

    def opened(self, own: AbstractSet[str] = frozenset()) -> None:
        """A new connection with the parameters of `resume`; `own`: what is sent over it, a live set."""
        self._own = own
        self._announced = set()
        self._received = set()
        self.beside = {}
        query = self.resume()
        self._begun = {query["requestId"]: int(query["attempt"])} if "requestId" in query else {}

    def apply(self, frame: Frame) -> None:
        self.frames.append(frame)
        kind, request = frame["type"], frame.get("requestId", "")
        if kind in ENDS and "cursor" not in frame:
            self.refusals.append(frame)
        elif kind == "accepted":
            if request in self._received:
                self._fault(f"{request}: frames came before its receipt")
            self.receipts[request] = frame["seq"]
        elif kind == "gap":
            self.gaps.append(frame)
            self.cursor = frame["cursor"]
        else:
            self._of_event(kind, request, frame)
            if request in self._own and request not in self.receipts:
                self._received.add(request)

    def _of_event(self, kind: str, request: str, frame: Frame) -> None:
        if kind == "user":
            self._user(request, frame)
        elif kind != "answered" and request not in self._announced and not request.startswith("timer:"):
            self._fault(f"{request}: {kind} came before its user on this connection")
        if kind == "reset":
            self._reset(request, frame["attempt"])
        elif kind in {"token", "tool"} | BESIDE:
            self._provisional(kind, request, frame)
        elif kind in DURABLE:
            self._durable(kind, request, frame)

    def _user(self, request: str, frame: Frame) -> None:
        self._announced.add(request)
        if self.users.setdefault(request, frame) != frame:
            self._fault(f"{request}: user changed from {self.users[request]} to {frame}")

    def _reset(self, request: str, attempt: int) -> None:
        if attempt < self.attempts.get(request, 0):
            self._fault(f"{request}: attempt went down to {attempt}")
        if request in self.ends:
            self._fault(f"{request}: reset after its end")
        self._begun[request] = self.attempts[request] = attempt
        self.shown[request] = ""
        self.tools.pop(request, None)
        self.beside.pop(request, None)

    def _provisional(self, kind: str, request: str, frame: Frame) -> None:
        if self._begun.get(request) != frame["attempt"]:
            self._fault(f"{request}: {kind} of attempt {frame['attempt']} without a reset on this connection")
            return
        if request in self.ends:
            self._fault(f"{request}: {kind} after its end")
        shown = self.shown.get(request, "")
        if kind == "tool":
            self.tools.setdefault(request, {})[frame["toolCallId"]] = frame
        elif kind in BESIDE:
            self.beside.setdefault(request, []).append(frame)
            if frame["offset"] > units(shown):
                self._fault(f"{request}: {kind} at {frame['offset']} where the text ends at {units(shown)}")
        elif frame["offset"] != units(shown):
            self._fault(f"{request}: offset {frame['offset']} where the text ends at {units(shown)}")
        else:
            self.shown[request] = shown + frame["value"]

    def _durable(self, kind: str, request: str, frame: Frame) -> None:
        if self.cursor is not None and frame["cursor"] != self.cursor + 1:
            self._fault(f"{request}: cursor {frame['cursor']} after {self.cursor}")
        self.cursor = frame["cursor"]
        self.log.append(frame)
        if kind not in ENDS:
            return
        if request in self.ends:
            self._fault(f"{request}: ended twice")
        if kind == "final":
            self._final(request, frame)
        self.ends[request] = frame

    def _final(self, request: str, frame: Frame) -> None:
        shown, attempt = self.shown.get(request, ""), self.attempts.get(request, 0)
        if frame["attempt"] < attempt:
            self._fault(f"{request}: final of attempt {frame['attempt']} after attempt {attempt}")
        if frame["attempt"] == attempt and not frame["revised"] and not frame["message"].startswith(shown):
            self._fault(f"{request}: shown {shown!r} is not the beginning of {frame['message']!r}")
        self.shown[request] = frame["message"]

    def _fault(self, fault: str) -> None:
        self.faults.append(fault)
