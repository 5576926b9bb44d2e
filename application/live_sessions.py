"""What this process knows of the sessions that someone here watches or works on.

A `LiveSession` is a projection of the tables plus the running attempt's stream. It changes only in synchronous
steps, and each step is idempotent by a number that only grows (`seq`, `log_index`, `run`), so a snapshot read
from the store and the news of this process may arrive in any order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import msgspec

from unbroken.application.deliveries import ResetReason
from unbroken.application.recent_attempts import RecentAttempts
from unbroken.domain.effects import LogEntry
from unbroken.domain.errors import Fenced, NotYourThread, Refused, ThreadDeleted
from unbroken.domain.events import Event
from unbroken.domain.live_stream import LiveStream
from unbroken.domain.ports.lease import Lease
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim, Position, SessionKey, SessionView

log = logging.getLogger(__name__)

TAIL = 64
"""Log entries kept in memory a session; a reader further behind reads the store."""
TAIL_BYTES = 256 << 10
"""Of these entries as JSON (I12): sixty-four of the longest answers would be a hundred megabytes for one open window.
The newest one is kept whatever its length: every reader wants it at once."""


def always() -> bool:
    return True


class LiveAttempt:
    """The attempt that runs now, here or at another replica, and the log's end when it began (protocol, rule 4)."""

    __slots__ = ("event", "log_index", "mirrored", "reason", "run", "shows", "stream")

    def __init__(
        self, event: Event, run: int, log_index: int, reason: ResetReason, shows: Callable[[], bool] = always
    ) -> None:
        self.event = event
        self.run = run
        self.log_index = log_index
        self.reason = reason
        self.shows = shows
        """Whether it may be shown now; asked before every look at its stream."""
        self.stream = LiveStream()
        self.mirrored: int | None = None
        """Of one that runs at another replica: how much of it is here, as its owner counts. None: it runs here."""

    @property
    def again(self) -> bool:
        """Not the first at its event."""
        return self.reason != "started"


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
        "owner",
        "pending",
        "readers",
        "recent",
        "run",
        "tail",
    )

    def __init__(self, key: SessionKey, recent: RecentAttempts | None = None) -> None:
        self.key = key
        self.recent = recent or RecentAttempts()
        """Of all sessions."""
        self.log_index = 0
        self.log_floor = 0
        self.acked: int | None = None
        """None: never read from the store, so others may wait than those in `pending`."""
        self.applied_seq = 0
        self.run = 0
        """The highest one that the store is known to have counted, wherever it runs."""
        self.owner: int | None = None
        """The replica for which it was counted."""
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
        return Position(self.log_index, self.applied_seq, max(self.applied_seq, *self.pending, 0), self.run)

    @property
    def runs_here(self) -> bool:
        return self.attempt is not None and self.attempt.mirrored is None

    @property
    def idle(self) -> bool:
        return not (self.readers or self.pending or self.runs_here or self.looks)

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
        self.counted(view.run, view.owner)
        self.catch_up(view.log_index, view.applied_seq)

    def counted(self, run: int, owner: int | None) -> None:
        """The store has counted this attempt: whatever an earlier one says from now on is late, wherever it runs."""
        if run >= self.run:
            self.run, self.owner = run, owner
        if self.attempt and self.attempt.run < self.run:
            self.attempt = None

    def catch_up(self, log_index: int, applied_seq: int) -> None:
        """The log reaches `log_index` and events up to `applied_seq` have ended, whoever ended them."""
        if log_index > self.log_index:
            self.tail.clear()
            self._tail_sizes.clear()
            self.log_index = log_index
        self.applied_seq = max(self.applied_seq, applied_seq)
        self.pending = {seq: event for seq, event in self.pending.items() if seq > self.applied_seq}
        self._ended(self.applied_seq)
        self.notify()

    def _ended(self, seq: int) -> None:
        if self.attempt and self.attempt.event.seq <= seq:
            self.recent.keep(self.key.thread_id, self.attempt)
            self.attempt = None

    def add(self, event: Event) -> None:
        """An event was accepted."""
        if event.seq <= self.applied_seq or event.seq in self.pending:
            return
        self.pending[event.seq] = event
        if len(self.pending) > 1 and next(reversed(self.pending)) != max(self.pending):
            self.pending = dict(sorted(self.pending.items()))
        self.notify()

    def begin(self, claim: Claim, reason: ResetReason, shows: Callable[[], bool] = always) -> LiveAttempt:
        """Raises Fenced: readers have been told of a later attempt already, or of the event's end."""
        if claim.event.seq <= self.applied_seq or claim.run < self.run:
            raise Fenced(f"event {claim.event.seq} has ended or was taken over elsewhere")
        self.catch_up(claim.log_index, claim.applied_seq)
        self.add(claim.event)
        self.counted(claim.run, claim.owner)
        self.attempt = LiveAttempt(claim.event, claim.run, claim.log_index, reason, shows)
        self.notify()
        return self.attempt

    def follow(self, run: int, seq: int, log_index: int, reason: ResetReason) -> LiveAttempt | None:
        """The attempt `run` of event `seq`, which runs at another replica, as far as it is here. None: it is not the
        one that the store is known to have counted last, its event has ended, or it runs here."""
        event = self.pending.get(seq)
        if run != self.run or event is None or seq != self.applied_seq + 1:
            return None
        if self.attempt is None:
            self.attempt = LiveAttempt(event, run, log_index, reason)
            self.attempt.mirrored = 0
        return self.attempt if self.attempt.mirrored is not None else None

    def end(self, event: Event, entries: Sequence[LogEntry]) -> None:
        """The event's finishing commit stands: log and live change in one step, so no reader sees both."""
        for entry in entries:
            if entry.log_index == self.log_index + 1:
                self.log_index = entry.log_index
                self._keep(entry)
        self.applied_seq = max(self.applied_seq, event.seq)
        self.pending.pop(event.seq, None)
        self._ended(event.seq)
        self.notify()

    def _keep(self, entry: LogEntry) -> None:
        self.tail.append(entry)
        self._tail_sizes.append(len(msgspec.json.encode(entry)))
        while len(self.tail) > TAIL or (len(self.tail) > 1 and sum(self._tail_sizes) > TAIL_BYTES):
            del self.tail[0], self._tail_sizes[0]

    def abandon(self, run: int) -> None:
        """The attempt is over without an end of its event; what was shown stays until the next `reset`. One that
        another replica has counted since may be followed from here already."""
        if self.attempt and self.attempt.run <= run:
            self.attempt = None


class LiveSessions:
    """The sessions live in this process. Keyed by the whole session key: a stranger who watches somebody
    else's thread id before or after it exists shares nothing with it (I11)."""

    def __init__(self, sessions: Sessions, lease: Lease) -> None:
        self._sessions = sessions
        self._lease = lease
        self._live: dict[SessionKey, LiveSession] = {}
        self._recent = RecentAttempts()
        self._by_thread: dict[str, tuple[SessionKey, ...]] = {}
        """More than one where a stranger watches, too."""
        self.on_look: Callable[[LiveSession], None] = lambda _: None
        """Told of a session that was read from the store, or that somebody begins to watch."""
        self.on_begin: Callable[[Claim], None] = lambda _: None
        """Told of an attempt before anything of it can be shown."""
        self.doubted: dict[str, int] = {}
        """By thread: the highest run that was counted before the lease had lapsed, until the store has said whose it
        is (`own_clock`)."""

    def followed(self, thread_id: str) -> list[SessionKey]:
        """The sessions of that thread that somebody follows here, or is about to."""
        keys = self._by_thread.get(thread_id, ())
        return [key for key in keys if (live := self._live[key]).readers or live.looks]

    def _add(self, key: SessionKey) -> LiveSession:
        live = self._live.get(key)
        if live is None:
            live = self._live[key] = LiveSession(key, self._recent)
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
            live = await self._read(key)
        else:
            self.on_look(live)
        return live

    async def refresh(self, key: SessionKey) -> None:
        """Bring a session up to date with the store; needed only when its last commit's fate is unknown or
        somebody else may have worked on it. Raises as `open`."""
        self.release(await self._read(key))

    async def refresh_for_readers(self, key: SessionKey) -> None:
        """The same for those who watch it here; nothing where its thread is gone, or turns out to be another user's.
        Raises StoreUnavailable."""
        try:
            await self.refresh(key)
        except Refused as error:
            log.info("nothing to show any more: %s", error, extra={"session": str(key)})

    async def _read(self, key: SessionKey) -> LiveSession:
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
            self.on_look(live)
        return live

    def accepted(self, key: SessionKey, event: Event, claim: Claim | None) -> None:
        """An accept of this process committed."""
        live = self._live.get(key)
        if claim is not None:
            live = live or self._add(key)
            live.catch_up(claim.log_index, claim.applied_seq)
            live.counted(claim.run, claim.owner)
        if live is not None:
            live.add(event)

    def begin(self, claim: Claim) -> LiveAttempt:
        live = self._add(claim.key)
        self.on_begin(claim)
        return live.begin(claim, _reason(claim), partial(self._shows, claim.key.thread_id, claim.run))

    def _shows(self, thread_id: str, run: int) -> bool:
        return self._lease.held() and (not self.doubted or self.doubted.get(thread_id, 0) < run)

    def end(self, claim: Claim, entries: Sequence[LogEntry]) -> None:
        if live := self._live.get(claim.key):
            live.catch_up(claim.log_index, claim.applied_seq)
            live.counted(claim.run, claim.owner)
            live.end(claim.event, entries)
            self.release(live)

    def abandon(self, claim: Claim) -> None:
        if live := self._live.get(claim.key):
            live.abandon(claim.run)

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

    def leave(self, live: LiveSession) -> None:
        """Forget a session that was only watched here, once nobody does, whatever waits in it at its owner."""
        if not (live.readers or live.runs_here or live.looks) and self._live.get(live.key) is live:
            self._drop(live.key)


def _reason(claim: Claim) -> Literal["started", "retry", "takeover"]:
    if claim.begins:
        return "started"
    return "takeover" if claim.taken_over else "retry"
