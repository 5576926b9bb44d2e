"""Where in a session's log a reader begins: with what it has not seen, or with what is current."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from unbroken.domain.effects import LogEntry
from unbroken.domain.errors import NotYourThread
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import SessionKey, SessionView
from unbroken.entrypoints.agent_protocol import positions

WINDOW: Final = 32
"""Log entries read at once. Of most events there are one or two."""


class Start(Struct, frozen=True):
    cursor: int
    """The log after it is told."""
    end: int
    """Of the log."""
    at_rest: bool
    """Nothing is unfinished, and the last turn's end is told."""


async def start(sessions: Sessions, outbox: Outbox, key: SessionKey, marks: Iterable[int | None]) -> Start:
    """`marks`: the highest `seq` that each reader has seen; 0: it is told all that the log holds. None: it begins, and
    is told the unfinished turn from its beginning, or else how the last one ended. The log is cut between events only.

    Raises NotYourThread, ThreadDeleted, StoreUnavailable.
    """
    view = await sessions.view(key.thread_id)
    if view is None:
        return Start(0, 0, at_rest=False)
    if view.key != key:
        raise NotYourThread(key.thread_id)
    log = _Log(outbox, view)
    cursors = [await (log.current() if mark is None else log.after(mark)) for mark in marks]
    at_rest = not view.pending and view.log_index > 0
    return Start(min(cursors, default=view.log_index), view.log_index, at_rest)


class _Log:
    def __init__(self, outbox: Outbox, view: SessionView) -> None:
        self._outbox = outbox
        self._thread_id = view.key.thread_id
        self._view = view

    async def current(self) -> int:
        if self._view.pending:
            return self._view.log_index
        return await self._before_event_at(self._view.log_index)

    async def after(self, mark: int) -> int:
        """Before the first event that an attempt ended which is not earlier than that of the mark."""
        attempt = positions.attempt_of(mark)
        if attempt > self._view.run:
            return await self.current()  # of another thread, or of none
        low, high = self._view.log_floor, self._view.log_index
        while low < high:
            middle = (low + high) // 2
            found = await self._attempt_after(middle)
            if found is None or found >= attempt:
                high = middle
            else:
                low = middle + 1
        return await self._before_event_at(low + 1) if low < self._view.log_index else low

    async def _attempt_after(self, cursor: int) -> int | None:
        """Of the first end of an event behind the cursor; attempts grow along the log. None: there is none."""
        while True:
            entries = await self._read(cursor)
            for entry in entries:
                if entry.attempt is not None:
                    return entry.attempt
            if len(entries) < WINDOW:
                return None
            cursor = entries[-1].log_index

    async def _before_event_at(self, log_index: int) -> int:
        """The cursor behind which that entry's event begins; not below what is kept."""
        first = log_index
        seq: int | None = None
        while first > self._view.log_floor:
            entries = await self._read(max(self._view.log_floor, first - WINDOW))
            before = [entry for entry in entries if entry.log_index <= first]
            if not before:
                break
            if seq is None:
                seq = before[-1].event.seq
            for entry in reversed(before):
                if entry.event.seq != seq:
                    return entry.log_index
                first = entry.log_index - 1
        return first

    async def _read(self, cursor: int) -> Sequence[LogEntry]:
        entries = await self._outbox.read(self._thread_id, after=cursor, limit=WINDOW)
        return [entry for entry in entries if entry.log_index <= self._view.log_index]
