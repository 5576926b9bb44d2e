"""What a socket owes its peer for what the peer sent: one answer a frame, in order, by the protocol's word (rule 9).

An acknowledgement that is taken is answered by silence, so several readings of the same answers may be possible; as
long as one of them is right, the server is.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from tests.hostile.sound import outcome_of
from unbroken.entrypoints.web.codec import BadFrame, Limits
from unbroken.entrypoints.web.frames import AckFrame, CancelFrame, MessageFrame, RespondFrame

Answer = dict[str, Any]

TAKES: Final = frozenset({"conflict", "thread_deleted", "unknown_file", "queue_full", "busy", "too_many_threads"})
STOPS: Final = frozenset({"unknown_request", "already_ended", "thread_deleted"})
FAR: Final = 1_000_000
"""No log is so long: whoever acknowledges that must be told."""
LATER: Final = frozenset({"unavailable", "too_fast"})
RECEIPTS: Final = {
    MessageFrame: ("accepted", TAKES | LATER | {"wrong_thread"}),
    RespondFrame: ("accepted", TAKES | LATER),
    CancelFrame: ("cancelling", STOPS | LATER),
}


class Due(Struct, frozen=True):
    """The answers that one frame may get."""

    frame: str | bytes
    receipt: str | None
    codes: frozenset[str]
    request_id: str | None
    silent: bool
    """No answer is one, too."""

    def admits(self, answer: Answer) -> bool:
        if answer["type"] != "error":
            return bool(answer["type"] == self.receipt and answer["requestId"] == self.request_id)
        if answer["code"] == "too_fast" and "requestId" not in answer:
            return True
        return bool(answer["code"] in self.codes and answer.get("requestId") == self.request_id)


class WrongAnswer(AssertionError):
    """The server broke its word."""


class Owed:
    def __init__(self, limits: Limits, *, legacy: bool = False) -> None:
        """`legacy`: a client of the old protocol is not sent receipts."""
        self.sent = 0
        self.oversized = False
        self._limits = limits
        self._legacy = legacy
        self._due: list[Due] = []
        self._at = [0]
        """Places in `_due` at which the server may stand; ascending."""

    def due(self, frame: str | bytes) -> Due:
        """Note a frame that is being sent. Raises as `outcome_of`."""
        outcome = outcome_of(frame, self._limits)
        if isinstance(outcome, BadFrame):
            self.oversized = self.oversized or outcome.close is not None
            due = Due(frame, None, frozenset({str(outcome.code)}), outcome.request_id, False)
        else:
            due = self._taken(frame, outcome)
        self.sent += 1
        self._due.append(due)
        return due

    def _taken(self, frame: str | bytes, decoded: MessageFrame | RespondFrame | CancelFrame | AckFrame) -> Due:
        if isinstance(decoded, AckFrame):
            self._legacy = False
            return Due(frame, None, frozenset({"ack_ahead"}), None, decoded.cursor < FAR)
        receipt, codes = RECEIPTS[type(decoded)]
        return Due(frame, receipt, codes, decoded.request_id, self._legacy)

    def heard(self, answer: Answer) -> None:
        """Raises WrongAnswer if nothing that was sent can have been answered so."""
        stands = sorted({place for at in self._at for place in self._after(at, answer)})
        if not stands:
            asked = [(due.frame, sorted(due.codes)) for due in self._due[self._at[0] :][:3]]
            raise WrongAnswer(f"{answer} answers none of {asked!r}")
        if not any(due.silent for due in self._due[: stands[0]]) or len(self._due) > 64:
            del self._due[: stands[0]]
            stands = [at - stands[0] for at in stands]
        self._at = stands

    def settled(self) -> bool:
        """Whether everything that must be answered is."""
        return any(all(due.silent for due in self._due[at:]) for at in self._at)

    def waiting(self) -> list[str | bytes]:
        return [due.frame for due in self._due[self._at[0] :] if not due.silent]

    def _after(self, at: int, answer: Answer) -> list[int]:
        places = []
        while at < len(self._due):
            due = self._due[at]
            at += 1
            if due.admits(answer):
                places.append(at)
            if not due.silent:
                break
        return places
