"""How far a session's log was written to sockets, and how far a client has acknowledged it.

`acked` is one number a session. It serves effect status, unread counts and clients without a cursor; it never
filters another client's log and never deletes anything. Marks only grow, so losing a flush costs freshness.
"""

from __future__ import annotations

import logging

from unbroken.application.live_sessions import LiveSessions
from unbroken.domain.errors import AckAhead, Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.session import SessionKey

log = logging.getLogger(__name__)


class Acknowledge:
    def __init__(self, *, outbox: Outbox, live: LiveSessions, clock: Clock, interval_s: float) -> None:
        self._outbox = outbox
        self._live = live
        self._clock = clock
        self._interval_s = interval_s
        self._sent: dict[str, int] = {}
        self._acked: dict[str, int] = {}

    def sent(self, key: SessionKey, log_index: int) -> None:
        """The log up to here was written to a socket; that proves nothing about its arrival."""
        self._sent[key.thread_id] = max(log_index, self._sent.get(key.thread_id, 0))

    def acked(self, key: SessionKey, cursor: int) -> None:
        """A client has presented the log up to `cursor`. The caller must be following the session.
        Raises AckAhead if that cursor was never handed out."""
        live = self._live.get(key)
        log_index = live.log_index if live else 0
        if cursor > log_index or cursor < 0:
            raise AckAhead(cursor, log_index)
        if live and live.acked is not None:
            live.acked = max(live.acked, cursor)
        self._acked[key.thread_id] = max(cursor, self._acked.get(key.thread_id, 0))

    async def flush(self) -> None:
        """One statement for everything since the last flush. Raises StoreUnavailable; nothing is forgotten
        then, nor when it is cancelled."""
        sent, self._sent = self._sent, {}
        acked, self._acked = self._acked, {}
        if not sent and not acked:
            return
        try:
            await self._outbox.mark(sent, acked)
        except BaseException:
            for thread_id, log_index in sent.items():
                self._sent[thread_id] = max(log_index, self._sent.get(thread_id, 0))
            for thread_id, cursor in acked.items():
                self._acked[thread_id] = max(cursor, self._acked.get(thread_id, 0))
            raise

    async def forever(self) -> None:
        while True:
            await self._clock.sleep(self._interval_s)
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("delivery marks wait for the store: %s", error)
