"""Following a session: a connection is a set of positions in shared state, never a queue of its own.

Every call of `Subscription.next` compares these positions with the session as it is at that moment and returns
what lies between. A reader that keeps up gets one token a call; one that does not gets a longer piece, or only
the end. Nothing is pushed twice and nothing is held back for anyone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from unbroken.application.deliveries import (
    Delivery,
    GapReason,
    ShowGap,
    ShowLogged,
    ShowReset,
    ShowStep,
    ShowText,
    ShowTool,
    ShowUser,
)
from unbroken.application.live_sessions import LiveAttempt, LiveSession, LiveSessions
from unbroken.domain.effects import LogEntry
from unbroken.domain.errors import ThreadDeleted
from unbroken.domain.events import Event, StateUpdate
from unbroken.domain.growing import Growing
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.session import SessionKey
from unbroken.domain.stream_parts import Held, Part, TextPart, ToolPart, all_merged, merged, step_of, width

TOO_FAR: Final = 500
PAGE: Final = 100
TAIL_CURSOR: Final = -1
"""As cursor: only what comes from now on."""


class Shown(Struct, frozen=True):
    """Where a client's view of the running answer stands."""

    request_id: str
    attempt: int
    offset: int


class Since(Struct, frozen=True):
    """How much of the running answer a client was given, where it was given all of it in order."""

    attempt: int
    position: int
    """See `stream_parts.Place`."""


class EachPart(Struct, frozen=True):
    """A reader that is to be told each part as it was shown, also of an attempt that ended a moment ago, and the log
    however far behind it is."""

    attempt: int = 0
    """The latest that it has seen: nothing of an earlier one is shown."""


Shows = Shown | Since | EachPart


class Subscribe:
    def __init__(self, live: LiveSessions, outbox: Outbox) -> None:
        self._live = live
        self._outbox = outbox

    async def __call__(
        self, key: SessionKey, *, cursor: int | None, shown: Shows | None = None, whole: bool = False
    ) -> Subscription:
        """Follow a session from `cursor` on (None: from what was acknowledged; TAIL_CURSOR: from now on).

        From one snapshot: a gap if there is one, the log after the cursor, waiting events, the running attempt
        (from `shown` on if it is the very attempt the client shows, else from its beginning), then live.
        `whole`: what the attempt that ended an event showed is given before that end, to a reader that is behind as
        well, as far as it is still here.

        Raises NotYourThread, ThreadDeleted, StoreUnavailable.
        """
        live = await self._live.open(key)
        start = (live.acked or 0) if cursor is None else cursor
        if start > live.log_index:
            # Another replica may have told this client more than is known here: its log is no other log (I8).
            await self._live.refresh(key)
            live = await self._live.open(key)
        return self._follow(live, start, shown, whole)

    def _follow(self, live: LiveSession, cursor: int, shown: Shows | None, whole: bool = False) -> Subscription:
        return Subscription(self._live, live, self._outbox, cursor, shown, whole)


class Subscription:
    """One reader's positions. Not to be shared between tasks."""

    __slots__ = (
        "_changed",
        "_each",
        "_ended_seq",
        "_following",
        "_gap",
        "_growing",
        "_hub",
        "_interrupted",
        "_joining",
        "_least",
        "_live",
        "_outbox",
        "_position",
        "_replay",
        "_resting",
        "_run",
        "_shown",
        "_sides",
        "_users",
        "_waiting",
        "_whole",
        "_within",
        "cursor",
    )

    def __init__(
        self,
        hub: LiveSessions,
        live: LiveSession,
        outbox: Outbox,
        cursor: int,
        shown: Shows | None,
        whole: bool = False,
    ) -> None:
        self._hub = hub
        self._live = live
        self._outbox = outbox
        self._changed = False
        self._waiting: asyncio.Future[None] | None = None
        """Of a reader that waits for news."""
        self._each = isinstance(shown, EachPart)
        self._gap = _gap(live, cursor, too_far=sys.maxsize if self._each else TOO_FAR)
        self.cursor = live.log_index if cursor == TAIL_CURSOR else self._gap.cursor if self._gap else cursor
        """The last log index handed to the reader."""
        self._users: set[int] = set()
        """Of the events whose end was not handed out, those that were shown: accepts may come back out of order."""
        self._ended_seq = 0
        self._shown = None if isinstance(shown, EachPart) else shown
        self._joining = True
        self._interrupted = False
        self._run = 0
        self._whole = whole or self._each
        self._following: LiveAttempt | None = None
        """The attempt whose stream this reader is in, if it is to be given all of it: it may end before that."""
        self._least = shown.attempt if shown else 0
        """Who shows an attempt has seen another replica take over from an earlier one that still runs here."""
        self._position = 0
        self._sides = 0
        """Of what was handed out of the attempt's stream."""
        self._growing: Growing | None = None
        """The last part that was handed out, if it may still grow, and how much of it was."""
        self._within = 0
        self._resting: asyncio.TimerHandle | None = None
        """What ends the rest that this reader was given."""
        self._replay: list[Part] = []
        live.readers[self._wake] = self._goes_on

    @property
    def stored(self) -> bool:
        """Whether the thread is known to hold something."""
        return self._live.stored

    @property
    def log_index(self) -> int:
        """The log's end: no larger cursor was ever handed out."""
        return self._live.log_index

    def close(self) -> None:
        self._live.readers.pop(self._wake, None)
        self._rested()
        self._hub.release(self._live)

    def interrupt(self) -> None:
        """Let a waiting `next` return, with or without news."""
        self._interrupted = True
        self._tell()

    def rest(self, seconds: float) -> None:
        """Let the running answer's text gather for so long; any other news, its end as well, is told at once."""
        if self._resting is None:
            self._resting = asyncio.get_running_loop().call_later(seconds, self._wake)

    async def next(self) -> list[Delivery]:
        """Wait for news and return it, in order; empty only after `interrupt`.

        Raises ThreadDeleted, StoreUnavailable.
        """
        while True:
            self._changed = False
            if self._live.gone:
                raise ThreadDeleted(self._live.key.thread_id)
            found: list[Delivery] = []
            if self.cursor < self._live.tail_start and not self._gap:
                self._log(found, await self._stored())
            if self._gap:
                gap, self._gap = self._gap, None
                return [gap]
            if self.cursor < self._live.log_index:
                self._log(found, self._live.tail)
            if self.cursor == self._live.log_index:
                for event in self._live.pending.values():
                    self._user(found, event)
                if self._resting is None:
                    self._attempt(found)
            if found or self._interrupted:
                self._interrupted = False
                return found
            await self._news()

    def _wake(self) -> None:
        self._rested()
        self._tell()

    def _goes_on(self) -> None:
        if self._resting is None:
            self._tell()

    def _tell(self) -> None:
        self._changed = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _news(self) -> None:
        """Until something may have changed since the look that found nothing began."""
        while not self._changed:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def _rested(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    async def _stored(self) -> Sequence[LogEntry]:
        """The log that memory does not hold; a gap, where it was removed while this reader was on its way to it. What
        the store knows and this replica does not yet is left to a later look: a cursor beyond `log_index` would be
        refused as one that was never handed out."""
        entries = await self._outbox.read(self._live.key.thread_id, after=self.cursor, limit=PAGE)
        following = entries[0].log_index if entries else self._live.tail_start + 1
        if following > self.cursor + 1:
            self.cursor = min(following - 1, self._live.log_index)
            self._gap = ShowGap(self.cursor, "retained")
            return ()
        return [entry for entry in entries if entry.log_index <= self._live.log_index]

    def _log(self, found: list[Delivery], entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.log_index == self.cursor + 1:
                self._user(found, entry.event)
                if self._whole and not self._rest_of(found, entry):
                    return
                found.append(ShowLogged(entry))
                self.cursor = entry.log_index
                if entry.event.seq > self._ended_seq:
                    self._ended_seq = entry.event.seq
                    self._users = {seq for seq in self._users if seq > self._ended_seq}

    def _rest_of(self, found: list[Delivery], entry: LogEntry) -> bool:
        """What the attempt showed of which the entry is the event's end, if that is still here: nothing else of it is
        true. False: more of it follows."""
        if entry.attempt is None:
            return True
        recent = self._live.recent.get(self._live.key.thread_id, entry.event.seq)
        for attempt in (self._following, recent):
            if attempt is not None and attempt.run == entry.attempt:
                if self._run != attempt.run:
                    self._enter(found, attempt, joining=True)
                if not self._parts(found, attempt):
                    return False
                break
        self._following = None
        return True

    def _user(self, found: list[Delivery], event: Event) -> None:
        if event.from_user and event.seq > self._ended_seq and event.seq not in self._users:
            self._users.add(event.seq)
            found.append(ShowUser(event))

    def _attempt(self, found: list[Delivery]) -> None:
        """The running attempt's news, about a frame's worth. Only for readers that were sent the whole log, so up to
        the attempt's start at least."""
        attempt = self._live.attempt
        if attempt is not None and not attempt.shows():
            return  # the replica's lease is over: whoever has taken over may be saying something else
        joining, self._joining = self._joining, False
        if attempt is None or attempt.run < self._least or isinstance(attempt.event.body, StateUpdate):
            return  # a change of the state says nothing, and its end is in no log that would close what was begun
        if self._run != attempt.run:
            self._enter(found, attempt, joining)
            self._following = attempt if self._whole else None
        self._parts(found, attempt)

    def _parts(self, found: list[Delivery], attempt: LiveAttempt) -> bool:
        """What follows of an attempt. False: a frame's worth was found, and there may be more."""
        parts = attempt.stream.parts
        while self._replay:
            if len(found) >= PAGE:
                return False
            self._show(found, attempt, self._replay.pop(0))
        if self._growing is not None:
            self._grown(found, attempt, self._growing)
            if self._position < len(parts):
                self._growing = None
        while self._position < len(parts):
            if len(found) >= PAGE:
                return False
            if self._each:
                part, self._position = parts[self._position], self._position + 1
            else:
                part, self._position = merged(parts, self._position)
            self._show(found, attempt, part)
        return True

    def _show(self, found: list[Delivery], attempt: LiveAttempt, part: Held) -> None:
        request_id, run, sides = attempt.event.request_id, attempt.run, self._sides
        if isinstance(part, TextPart):
            found.append(ShowText(request_id, run, part, sides))
            return
        if isinstance(part, Growing):
            self._growing, self._within = part, 0
            self._grown(found, attempt, part)
            return
        self._sides = sides + width(part)
        if isinstance(part, ToolPart):
            found.append(ShowTool(request_id, run, part, sides))
        else:
            found.append(ShowStep(request_id, run, part, sides))

    def _grown(self, found: list[Delivery], attempt: LiveAttempt, growing: Growing) -> None:
        """What this reader lacks of it."""
        if self._within < growing.length:
            step = step_of(growing, self._within)
            found.append(ShowStep(attempt.event.request_id, attempt.run, step, self._sides))
            self._within += step.sides
            self._sides += step.sides

    def _enter(self, found: list[Delivery], attempt: LiveAttempt, joining: bool) -> None:
        """Begin to follow an attempt: from the offset the client shows, if it shows this very one."""
        self._run = attempt.run
        self._position = self._sides = 0
        self._growing = None
        self._replay.clear()
        shown, self._shown = self._shown, None  # what runs elsewhere may be here only after the reader's first look
        request_id = attempt.event.request_id
        if isinstance(shown, Since):
            if shown.attempt == attempt.run:
                self._goes_on_from_here(attempt)
                lacking, place = attempt.stream.beyond(shown.position)
                self._sides = place.sides
                self._replay = all_merged(lacking)
            else:
                found.append(ShowReset(request_id, attempt.run, attempt.reason, attempt.again))
            return
        same = shown is not None and (shown.request_id, shown.attempt) == (request_id, attempt.run)
        if shown and same and 0 <= shown.offset <= attempt.stream.length:
            self._goes_on_from_here(attempt)
            self._replay = all_merged(attempt.stream.after(shown.offset))
            return
        late = same or (joining and attempt.stream.parts)
        found.append(ShowReset(request_id, attempt.run, "resync" if late else attempt.reason, attempt.again))

    def _goes_on_from_here(self, attempt: LiveAttempt) -> None:
        """All that the stream holds now is handed out otherwise."""
        parts = attempt.stream.parts
        self._position = len(parts)
        if parts and isinstance(last := parts[-1], Growing):
            self._growing, self._within = last, last.length


def _gap(live: LiveSession, cursor: int, *, too_far: int) -> ShowGap | None:
    if cursor == TAIL_CURSOR:
        return None
    reason: GapReason
    if cursor > live.log_index:
        reason = "unknown_cursor"
    elif cursor < live.log_floor:
        reason = "retained"
    elif live.log_index - cursor > too_far:
        reason = "too_far"
    else:
        return None
    return ShowGap(live.log_index, reason)
