"""What this process knows of the sessions that someone here watches or works on.

A `LiveSession` is a projection of the tables plus the running attempt's stream. It changes only in synchronous
steps, and each step is idempotent by a number that only grows (`seq`, `log_index`, `run`), so a snapshot read
from the store and the news of this process may arrive in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from unbroken.application.deliveries import ResetReason
from unbroken.domain.effects import LogEntry
from unbroken.domain.errors import Fenced, NotYourThread, ThreadDeleted
from unbroken.domain.events import Event
from unbroken.domain.live_stream import LiveStream
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim, Position, SessionKey, SessionView

TAIL = 64
"""Log entries kept in memory a session; a reader further behind reads the store."""
TAIL_BYTES = 256 << 10
"""Of these entries as JSON (I12): sixty-four of the longest answers would be a hundred megabytes for one open window.
The newest one is kept whatever its length: every reader wants it at once."""


class LiveAttempt:
    """The attempt that runs here now, and the log's end when it began (protocol, rule 4)."""

    __slots__ = ("event", "log_index", "reason", "run", "stream")

    def __init__(self, claim: Claim, reason: ResetReason) -> None:
        self.event = claim.event
        self.run = claim.run
        self.log_index = claim.log_index
        self.reason = reason
        self.stream = LiveStream()


class LiveSession:
    """One session as its readers see it: the log's tail, what waits, and what is being said."""

    __slots__ = (
        "_tail_sizes",
        "acked",
        "applied_seq",
        "attempt",
        "gone",
        "key",
        "log_floor",
        "log_index",
        "looks",
        "pending",
        "readers",
        "tail",
    )

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self.log_index = 0
        self.log_floor = 0
        self.acked: int | None = None
        """None: never read from the store, so others may wait than those in `pending`."""
        self.applied_seq = 0
        self.tail: list[LogEntry] = []
        self._tail_sizes: list[int] = []
        self.pending: dict[int, Event] = {}
        self.attempt: LiveAttempt | None = None
        self.readers: dict[Callable[[], None], Callable[[], None]] = {}
        """What wakes each, and what tells it that the answer goes on. In the order in which they came: whoever came
        first is told first."""
        self.looks = 0
        """Snapshots on their way from the store: what ends meanwhile must be remembered until they are here."""
        self.gone = False
        """The thread was deleted: nothing comes any more."""

    @property
    def tail_start(self) -> int:
        """The cursor after which everything is in `tail`."""
        return self.log_index - len(self.tail)

    @property
    def stored(self) -> bool:
        """Whether the store is known to have held the thread."""
        return bool(self.applied_seq or self.pending)

    @property
    def position(self) -> Position:
        return Position(self.log_index, self.applied_seq, max(self.applied_seq, *self.pending, 0))

    @property
    def idle(self) -> bool:
        return not (self.readers or self.pending or self.attempt or self.looks)

    def notify(self) -> None:
        for wake in self.readers:
            wake()

    def goes_on(self) -> None:
        """There is more of the running answer's text, and no other news."""
        for tell in self.readers.values():
            tell()

    def merge(self, view: SessionView) -> None:
        """Take over whatever a snapshot knows and this process does not."""
        self.log_floor = max(self.log_floor, view.log_floor)
        self.acked = max(self.acked or 0, view.acked)
        waiting = {event.seq: event for event in view.pending} | self.pending
        self.pending = {seq: waiting[seq] for seq in sorted(waiting)}
        self.catch_up(view.log_index, view.applied_seq)

    def catch_up(self, log_index: int, applied_seq: int) -> None:
        """The log reaches `log_index` and events up to `applied_seq` have ended, whoever ended them."""
        if log_index > self.log_index:
            self.tail.clear()
            self._tail_sizes.clear()
            self.log_index = log_index
        self.applied_seq = max(self.applied_seq, applied_seq)
        self.pending = {seq: event for seq, event in self.pending.items() if seq > self.applied_seq}
        if self.attempt and self.attempt.event.seq <= self.applied_seq:
            self.attempt = None
        self.notify()

    def add(self, event: Event) -> None:
        """An event was accepted."""
        if event.seq <= self.applied_seq or event.seq in self.pending:
            return
        self.pending[event.seq] = event
        if len(self.pending) > 1 and next(reversed(self.pending)) != max(self.pending):
            self.pending = dict(sorted(self.pending.items()))
        self.notify()

    def begin(self, claim: Claim, reason: ResetReason) -> LiveAttempt:
        """Raises Fenced: readers have been told the event's end already, so a later attempt of somebody else's."""
        if claim.event.seq <= self.applied_seq:
            raise Fenced(f"event {claim.event.seq} has ended elsewhere")
        self.catch_up(claim.log_index, claim.applied_seq)
        self.add(claim.event)
        self.attempt = LiveAttempt(claim, reason)
        self.notify()
        return self.attempt

    def end(self, event: Event, entries: Sequence[LogEntry]) -> None:
        """The event's finishing commit stands: log and live change in one step, so no reader sees both."""
        for entry in entries:
            if entry.log_index == self.log_index + 1:
                self.log_index = entry.log_index
                self._keep(entry)
        self.applied_seq = max(self.applied_seq, event.seq)
        self.pending.pop(event.seq, None)
        self.abandon(event)
        self.notify()

    def _keep(self, entry: LogEntry) -> None:
        self.tail.append(entry)
        self._tail_sizes.append(len(msgspec.json.encode(entry)))
        while len(self.tail) > TAIL or (len(self.tail) > 1 and sum(self._tail_sizes) > TAIL_BYTES):
            del self.tail[0], self._tail_sizes[0]

    def abandon(self, event: Event) -> None:
        """The attempt is over without an end of its event; what was shown stays until the next `reset`."""
        if self.attempt and self.attempt.event.seq <= event.seq:
            self.attempt = None


class LiveSessions:
    """The sessions live in this process. Keyed by the whole session key: a stranger who watches somebody
    else's thread id before or after it exists shares nothing with it (I11)."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._live: dict[SessionKey, LiveSession] = {}
        self._by_thread: dict[str, tuple[SessionKey, ...]] = {}
        """More than one where a stranger watches, too."""
        self._on_refreshed: list[Callable[[SessionView], None]] = []

    def listen(self, on_refreshed: Callable[[SessionView], None]) -> None:
        """Call `on_refreshed(view)`, synchronously, whenever a session that somebody follows here was read anew because
        others may have changed it; what the view knows was told to its readers just before."""
        self._on_refreshed.append(on_refreshed)

    def followed(self, thread_id: str) -> list[SessionKey]:
        """The sessions of that thread that somebody follows here, or is about to."""
        keys = self._by_thread.get(thread_id, ())
        return [key for key in keys if (live := self._live[key]).readers or live.looks]

    def _add(self, key: SessionKey) -> LiveSession:
        live = self._live.get(key)
        if live is None:
            live = self._live[key] = LiveSession(key)
            self._by_thread[key.thread_id] = (*self._by_thread.get(key.thread_id, ()), key)
        return live

    def _drop(self, key: SessionKey) -> LiveSession | None:
        live = self._live.pop(key, None)
        if live is not None:
            rest = tuple(other for other in self._by_thread.pop(key.thread_id) if other != key)
            if rest:
                self._by_thread[key.thread_id] = rest
        return live

    def __len__(self) -> int:
        return len(self._live)

    def get(self, key: SessionKey) -> LiveSession | None:
        return self._live.get(key)

    def stored(self) -> list[SessionKey]:
        """Sessions whose threads exist, or did."""
        return [key for key, live in self._live.items() if live.stored]

    def remove(self, key: SessionKey) -> None:
        """The thread was deleted: tell its readers, forget everything else. Whoever comes next begins anew."""
        live = self._drop(key)
        if live is not None:
            live.gone = True
            live.pending = {}
            live.attempt = None
            live.notify()

    def here(self) -> list[SessionKey]:
        return list(self._live)

    async def open(self, key: SessionKey) -> LiveSession:
        """The live session, complete: read from the store unless somebody reads it already. The caller must
        become its reader, or release it, before it awaits anything.

        Raises NotYourThread, ThreadDeleted, StoreUnavailable.
        """
        live = self._live.get(key)
        if live is None or live.acked is None:
            live, _ = await self._read(key)
        return live

    async def refresh(self, key: SessionKey) -> None:
        """Bring a session up to date with the store; needed only when its last commit's fate is unknown or
        somebody else may have worked on it. Raises as `open`."""
        live, view = await self._read(key)
        if view is not None and live.readers:
            for on_refreshed in self._on_refreshed:
                on_refreshed(view)
        self.release(live)

    async def _read(self, key: SessionKey) -> tuple[LiveSession, SessionView | None]:
        live = self._add(key)
        live.looks += 1
        existed = live.stored
        try:
            view = await self._sessions.view(key.thread_id)
            if view is not None and view.key != key:
                raise NotYourThread(key.thread_id)
            if view is None and existed:
                raise ThreadDeleted(key.thread_id)  # and its tombstone with it
        except ThreadDeleted as error:
            self.remove(key)
            if error.user_id not in (None, key.user_id):
                raise NotYourThread(key.thread_id) from None
            raise
        except BaseException:
            live.looks -= 1
            self.release(live)
            raise
        live.looks -= 1
        if view is not None:
            live.merge(view)
        return live, view

    def accepted(self, key: SessionKey, event: Event, claim: Claim | None) -> None:
        """An accept of this process committed."""
        live = self._live.get(key)
        if claim is not None:
            live = live or self._add(key)
            live.catch_up(claim.log_index, claim.applied_seq)
        if live is not None:
            live.add(event)

    def begin(self, claim: Claim) -> LiveAttempt:
        return self._add(claim.key).begin(claim, _reason(claim))

    def end(self, claim: Claim, entries: Sequence[LogEntry]) -> None:
        if live := self._live.get(claim.key):
            live.catch_up(claim.log_index, claim.applied_seq)
            live.end(claim.event, entries)
            self.release(live)

    def abandon(self, claim: Claim) -> None:
        if live := self._live.get(claim.key):
            live.abandon(claim.event)

    def notify(self, key: SessionKey) -> None:
        if live := self._live.get(key):
            live.notify()

    def goes_on(self, key: SessionKey) -> None:
        if live := self._live.get(key):
            live.goes_on()

    def release(self, live: LiveSession) -> None:
        """Forget a session that nobody watches and nothing runs in (I12)."""
        if live.idle and self._live.get(live.key) is live:
            self._drop(live.key)


def _reason(claim: Claim) -> Literal["started", "retry", "takeover"]:
    if claim.begins:
        return "started"
    return "takeover" if claim.taken_over else "retry"
