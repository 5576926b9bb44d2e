"""How far a session's log was written to sockets, and how far a client has acknowledged it.

`acked` is one number a session. It serves effect status, unread counts and clients without a cursor; it never
filters another client's log and never deletes anything. Marks only grow, so losing a flush costs freshness.
"""

from __future__ import annotations

import logging

from unbroken.application.live_sessions import LiveSessions
from unbroken.domain.errors import AckAhead, Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.outbox import Outbox, Reached
from unbroken.domain.session import SessionKey

log = logging.getLogger(__name__)


class Acknowledge:
    def __init__(self, *, outbox: Outbox, live: LiveSessions, clock: Clock, interval_s: float) -> None:
        self._outbox = outbox
        self._live = live
        self._clock = clock
        self._interval_s = interval_s
        self._sent: dict[str, tuple[int, float]] = {}
        """Thread id → log index, and when that was reached."""
        self._acked: dict[str, tuple[int, float]] = {}

    def sent(self, key: SessionKey, log_index: int) -> None:
        """The log up to here was written to a socket; that proves nothing about its arrival."""
        self._raise(self._sent, key.thread_id, log_index)

    def acked(self, key: SessionKey, cursor: int) -> None:
        """A client has presented the log up to `cursor`. The caller must be following the session.
        Raises AckAhead if that cursor was never handed out."""
        live = self._live.get(key)
        log_index = live.log_index if live else 0
        if cursor > log_index or cursor < 0:
            raise AckAhead(cursor, log_index)
        if live and live.acked is not None:
            live.acked = max(live.acked, cursor)
        self._raise(self._acked, key.thread_id, cursor)

    async def flush(self) -> None:
        """One statement for everything since the last flush. Raises StoreUnavailable; nothing is forgotten
        then, nor when it is cancelled."""
        sent, self._sent = self._sent, {}
        acked, self._acked = self._acked, {}
        if not sent and not acked:
            return
        try:
            await self._outbox.mark(self._reached(sent), self._reached(acked))
        except BaseException:
            for untold, marks in ((sent, self._sent), (acked, self._acked)):
                for thread_id, reached in untold.items():
                    marks[thread_id] = max(reached, marks.get(thread_id, reached))
            raise

    async def forever(self) -> None:
        while True:
            await self._clock.sleep(self._interval_s)
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("delivery marks wait for the store: %s", error)

    def _raise(self, marks: dict[str, tuple[int, float]], thread_id: str, log_index: int) -> None:
        if log_index > marks.get(thread_id, (-1, 0.0))[0]:
            marks[thread_id] = (log_index, self._clock.monotonic())

    def _reached(self, marks: dict[str, tuple[int, float]]) -> dict[str, Reached]:
        now = self._clock.monotonic()
        return {thread_id: Reached(log_index, now - at) for thread_id, (log_index, at) in marks.items()}
