"""What a client of the old protocol is shown: four frame types, and no attempt it has not heard of (rule 10)."""

from __future__ import annotations

from unbroken.entrypoints.web.frames import CancelledFrame, ErrorFrame, FinalFrame, ServerFrame, TokenFrame


class LegacyView:
    def __init__(self) -> None:
        self._attempts: dict[str, int] = {}

    def admits(self, frame: ServerFrame) -> bool:
        """An old client cannot take text back: once another attempt writes, it sees only the request's end."""
        if isinstance(frame, TokenFrame):
            return self._attempts.setdefault(frame.request_id, frame.attempt) == frame.attempt
        if not isinstance(frame, FinalFrame | CancelledFrame | ErrorFrame):
            return False
        # A refusal may name a request that runs: a message sent twice, a cancel that could not be stored.
        if isinstance(frame.cursor, int) and isinstance(frame.request_id, str):
            self._attempts.pop(frame.request_id, None)
        return True
