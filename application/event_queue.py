"""Events of one session strictly one after another, sessions side by side and in turn.

What waits is kept in the table, not here: this queue holds one task for each session that has work, and each
task holds one claim. After a crash there is nothing to rebuild; `Recover` finds the sessions again.

    hint ────▶ look ──claim──▶ turn ──▶ next claim, counted by the finishing commit ──▶ turn …
    accept ────────claim───────▶ ▲          │ nothing waits ──▶ look again if hinted meanwhile, else the task ends
                                 └── pause ◀┴ the attempt failed, or its fate is unknown

Once it is closed each task ends at its next arrow, and gives its session back for others to go on with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from unbroken.application.live_sessions import LiveSessions
from unbroken.application.log_context import working_for
from unbroken.application.session_doors import SessionDoors
from unbroken.application.session_processor import Again, SessionProcessor
from unbroken.application.turn_end import about
from unbroken.domain.errors import CancelKind, Unavailable
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.wakeups import Wakeups
from unbroken.domain.session import Claim, Position, SessionKey

log = logging.getLogger(__name__)

MAX_PAUSE_S = 2.0
"""Between two looks at a store that does not answer."""
ASKED_AT_ONCE = 500
"""Sessions that are watched here, in one question whether others know more of them."""
LAST_WORDS_S = 20.0
"""For so long the store may still be at a statement of a replica that is gone: twice what it lets one take."""


class EventQueue:
    def __init__(
        self,
        *,
        processor: SessionProcessor,
        sessions: Sessions,
        live: LiveSessions,
        wakeups: Wakeups,
        clock: Clock,
        replica: int,
        concurrent_turns: int,
        retry_pause_s: float = 0.2,
    ) -> None:
        self._processor = processor
        self._sessions = sessions
        self._live = live
        self._wakeups = wakeups
        self._clock = clock
        self._replica = replica
        self._retry_pause_s = retry_pause_s
        self._slots = asyncio.Semaphore(concurrent_turns)
        """First come, first served: a session waits for at most one turn of each other session."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: set[str] = set()
        self._idle: set[str] = set()
        """Sessions that wait for a slot or between two attempts: where nothing is lost by a cancellation."""
        self._handed: dict[str, Claim] = {}
        """Claims that nobody has begun, or that nobody goes on with here."""
        self._hinted: set[str] = set()
        self._doors = SessionDoors()
        self._pauses: dict[str, asyncio.Event] = {}
        """Of sessions that wait between two attempts: set to end the pause."""
        self._newest: dict[str, int] = {}
        """The highest run seen of a session that has a task or an accept on its way."""
        self._closing = False
        self._alone: int | None = None
        self._alone_since_s = 0.0
        """What the store says of being alone, and since when it says the same."""
        self._caught_up = False
        """Readers were told all that others did before that."""
        self._left_out: list[SessionKey] = []
        """Sessions that were not asked about in the last look, because they had work here."""

    def __len__(self) -> int:
        """Sessions with work here."""
        return len(self._tasks)

    @asynccontextmanager
    async def expecting(self, thread_id: str) -> AsyncIterator[None]:
        """While an accept is on its way: its claim may be counted already, and nobody here looks for one. Waits for a
        look that is under way; nothing is awaited at the end."""
        try:
            async with self._doors.accept(thread_id):
                yield
        finally:
            if thread_id in self._hinted and not self._doors.expects(thread_id):
                self._wake(thread_id)
            self._forget(thread_id)

    @property
    def newest(self) -> dict[str, int]:
        """The highest run seen of each session that has work here."""
        return {thread_id: run for thread_id, run in self._newest.items() if thread_id in self._tasks}

    def knows(self, thread_id: str) -> bool:
        return thread_id in self._tasks or self._doors.expects(thread_id)

    def start(self, claim: Claim) -> None:
        """Run a claim that an accept has counted, unless a later one was counted before the accept came back. Once
        this is closed, the claim is given back."""
        thread_id = claim.key.thread_id
        if claim.run > self._newest.get(thread_id, 0):
            self._newest[thread_id] = claim.run
            self._handed[thread_id] = claim
            self._processor.outrun(claim)
            if thread_id in self._pauses:
                self._pauses[thread_id].set()
            self._wake(thread_id)

    def hint(self, thread_id: str) -> None:
        """Something may wait in this session: look, and run it if it is ours to run."""
        if not self._closing:
            self._hinted.add(thread_id)
            self._wake(thread_id)

    def runs(self, thread_id: str) -> bool:
        """Whether an attempt of it is under way here."""
        return thread_id in self._running

    def stop(self, thread_id: str, kind: CancelKind, *, first: int, last: int) -> bool:
        """Cancels of the events from `first` to `last` are durable: stop the attempt at one of them if it runs here.
        A session that pauses between two attempts looks now; what is not counted yet finds its mark when it is.
        False: nothing of it was under way here."""
        if self._processor.stop(thread_id, kind, first=first, last=last):
            return True
        if thread_id not in self._pauses:
            return False
        self._pauses[thread_id].set()
        return True

    async def catch_up(self) -> None:
        """Tell readers what was said and answered in their sessions at other replicas. Raises StoreUnavailable.

        Nothing is asked twice while nobody else is there. Asked about in parts: thousands at once would make everyone
        else wait for longer than a turn takes."""
        alone = await self._sessions.alone(replica=self._replica)
        now_s = self._clock.monotonic()
        if alone is None or alone != self._alone:
            self._alone, self._alone_since_s, self._caught_up = alone, now_s, False
        last = now_s - self._alone_since_s >= LAST_WORDS_S
        self._left_out = await self._ask_about(self._left_out if self._caught_up else self._live.here())
        self._caught_up = self._caught_up or last

    async def _ask_about(self, keys: list[SessionKey]) -> list[SessionKey]:
        """Returns those that have work here: what is known of them changes while the store is asked."""
        left_out: list[SessionKey] = []
        watched: dict[str, list[SessionKey]] = {}
        for key in keys:
            if self.knows(key.thread_id):
                left_out.append(key)
            else:
                watched.setdefault(key.thread_id, []).append(key)
        threads = list(watched)
        for first in range(0, len(threads), ASKED_AT_ONCE):
            known: dict[str, Position] = {}
            for thread_id in threads[first : first + ASKED_AT_ONCE]:
                here = [live.position for key in watched[thread_id] if (live := self._live.get(key))]
                if here:  # of two users' watches on one thread one is a stranger's, and learns nothing
                    known[thread_id] = max(here)
            for thread_id in await self._sessions.behind(known):
                for key in watched[thread_id]:
                    await self._live.refresh_for_readers(key)
        return left_out

    async def close(self, grace_s: float) -> None:
        """Begin nothing new. Let running turns finish for `grace_s`, or until they commit a superstep, then cancel
        them. Every session is given back as soon as nothing runs in it, and the other replicas are told; what cannot
        be given back stays counted, and is found again by whoever serves the session next."""
        self._closing = True
        self._processor.hand_over()
        for thread_id in self._idle:
            self._tasks[thread_id].cancel()
        try:
            async with asyncio.timeout(grace_s):
                await self._emptied()
        except TimeoutError:
            for thread_id in self._running:
                self._tasks[thread_id].cancel()
            await self._emptied()

    async def _emptied(self) -> None:
        """Until nothing is done for any session; what an accept brings meanwhile is waited for as well."""
        await self._doors.all_out()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))
            await self._doors.all_out()

    def _wake(self, thread_id: str) -> None:
        if thread_id not in self._tasks and (not self._closing or thread_id in self._handed):
            self._tasks[thread_id] = asyncio.create_task(self._serve(thread_id))

    async def _serve(self, thread_id: str) -> None:
        """Until nothing waits, or this is closed. Nothing is awaited between the last look and the removal of the task;
        where the session is given back, what an accept hands in meanwhile begins another task."""
        try:
            try:
                await self._drain(thread_id)
            except asyncio.CancelledError:
                if not self._closing:
                    raise
            except Exception:
                log.exception("a session's worker stopped; its event stays counted and will be tried again")
                self._hinted.discard(thread_id)
            if self._closing:
                self._hinted.discard(thread_id)
                await self._give_back(thread_id)
        finally:
            self._tasks.pop(thread_id, None)
            self._handed.pop(thread_id, None)
            self._forget(thread_id)

    async def _drain(self, thread_id: str) -> None:
        """A slot is taken before an attempt is counted, so that waiting for one costs no try; none is held in a
        pause."""
        again: Again | None = None
        while not self._closing:
            if again is None and not self._has_work(thread_id):
                return
            async with self._slot(thread_id):
                outcome = await self._turn(thread_id, again)
            again = outcome if isinstance(outcome, Again) else None
            if isinstance(outcome, Claim):
                self._hand_in(outcome)
            if again and not self._closing:
                await self._pause(thread_id, again.after_s)

    @asynccontextmanager
    async def _slot(self, thread_id: str) -> AsyncIterator[None]:
        with self._nothing_to_lose(thread_id):
            await self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def _nothing_to_lose(self, thread_id: str) -> Iterator[None]:
        self._idle.add(thread_id)
        try:
            yield
        finally:
            self._idle.discard(thread_id)

    async def _give_back(self, thread_id: str) -> None:
        """Others may take the session from here on: at once where they hear of it, else when they look."""
        async with self._doors.look(thread_id):  # an accept on its way may have claimed it
            claim = self._handed.pop(thread_id, None)
            try:
                given = claim is not None and await self._sessions.release(claim)
                given = given or await self._sessions.release_thread(thread_id, replica=self._replica)
            except Unavailable as error:
                log.warning("a session could not be handed over, and waits until this replica has left: %s", error)
                return
        if given:
            self._wakeups.announce(thread_id, free=True)

    async def _pause(self, thread_id: str, seconds: float) -> None:
        ended = self._pauses[thread_id] = asyncio.Event()
        waits = {asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(ended.wait())}
        try:
            with self._nothing_to_lose(thread_id):
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._pauses[thread_id]
            for wait in waits:
                wait.cancel()

    def _hand_in(self, claim: Claim) -> None:
        """The one of the higher run counts: the other is fenced. It may be an accept's that came back late."""
        other = self._handed.get(claim.key.thread_id)
        if other is None or claim.run > other.run:
            self._handed[claim.key.thread_id] = claim

    def _has_work(self, thread_id: str) -> bool:
        return thread_id in self._handed or (thread_id in self._hinted and not self._doors.expects(thread_id))

    def _forget(self, thread_id: str) -> None:
        if not self.knows(thread_id):
            self._newest.pop(thread_id, None)
            self._live.doubted.pop(thread_id, None)

    async def _turn(self, thread_id: str, again: Again | None) -> Claim | Again | None:
        claim = self._handed.pop(thread_id, None)
        if claim is None:
            self._hinted.discard(thread_id)
            try:
                claim = await self._look(thread_id, again)
            except Unavailable as error:
                log.warning("the store does not answer yet: %s", error)
                pause_s = min(MAX_PAUSE_S, 2 * again.after_s if again else 0.0)
                pause_s = max(self._retry_pause_s, pause_s)
                return Again(pause_s, again.refresh if again else None, again.because if again else None)
        if claim is None or self._closing:
            return claim
        self._newest[thread_id] = max(claim.run, self._newest.get(thread_id, 0))
        self._running.add(thread_id)
        try:
            with working_for(**about(claim), connection=None):
                return await self._processor.process(claim)
        except asyncio.CancelledError:
            self._hand_in(claim)
            raise
        finally:
            self._running.discard(thread_id)

    async def _look(self, thread_id: str, again: Again | None) -> Claim | None:
        """Count the next attempt. Readers learn what the store knows: an event whose commit's answer was lost may
        have reached its end, and others may have come from elsewhere."""
        async with self._doors.look(thread_id):
            claim = self._handed.get(thread_id) or await self._sessions.claim(
                thread_id, replica=self._replica, because=again.because if again else None
            )
        if claim is not None:
            self._hand_in(claim)
        claim = self._handed.pop(thread_id, None)
        if claim is None:
            if again and again.refresh:
                await self._live.refresh_for_readers(again.refresh)
            return None
        self._wakeups.announce(thread_id)  # the session may have come here from another replica
        if self._live.get(claim.key) and (again is None or again.refresh):
            try:
                await self._live.refresh_for_readers(claim.key)
            except Unavailable as error:
                # The attempt is counted; what its claim says of the log is enough to begin with.
                log.warning("readers wait for what else the store knows: %s", error)
        return claim
