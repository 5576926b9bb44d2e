"""Store what arrived, before anything runs (I2, I7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from unbroken.application.event_queue import EventQueue
from unbroken.application.live_sessions import LiveSessions
from unbroken.domain.errors import CancelKind, CommitUnknown, UnknownFile
from unbroken.domain.events import MESSAGES, EventBody, NewEvent, UserMessage, WhenBusy
from unbroken.domain.files import file_ids
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.event_store import EventStore, Receipt
from unbroken.domain.ports.files import Files
from unbroken.domain.ports.wakeups import Wakeups
from unbroken.domain.session import SessionKey

CANCELS: Final[Mapping[WhenBusy, CancelKind]] = {WhenBusy.INTERRUPT: "cancel", WhenBusy.ROLLBACK: "rollback"}


class AcceptEvent:
    def __init__(
        self,
        *,
        event_store: EventStore,
        files: Files,
        agents: Agents,
        queue: EventQueue,
        live: LiveSessions,
        wakeups: Wakeups,
        clock: Clock,
        new_id: Callable[[], str],
        replica: int,
        queue_limit: int,
        when_busy: Callable[[str], WhenBusy],
    ) -> None:
        self._event_store = event_store
        self._files = files
        self._agents = agents
        self._queue = queue
        self._live = live
        self._wakeups = wakeups
        self._clock = clock
        self._new_id = new_id
        self._replica = replica
        self._queue_limit = queue_limit
        self._when_busy = when_busy
        """An agent's own setting, by its name."""

    async def __call__(
        self,
        key: SessionKey,
        request_id: str,
        body: EventBody,
        *,
        when_busy: WhenBusy | None = None,
        trace_context: Mapping[str, str] | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        """Accept one event. When this returns the event is durable, and its turn is under way or waits its turn.

        `when_busy`: what a user's message or run does to unfinished ones; None: as its agent is set. `trace_context`:
        of what caused the event, if that is known. `event_id`: a new UUID, where somebody has to know it before.

        Between the commit and the return nothing is awaited: whoever holds the receipt can tell its client
        before anything that derives from the event can be read here.

        Raises UnknownAgent, UnknownFile (a file that was not attached to this thread), and everything that
        `EventStore.accept` does. After CommitUnknown the event never runs from memory: if it was stored, it is found
        as a stray, and asking again with the same id tells.
        """
        received = self._clock.monotonic()
        self._agents.get(key.agent_id)
        if not isinstance(body, MESSAGES):
            when_busy = WhenBusy.ENQUEUE  # an answer or a timer never pushes a message aside
        elif when_busy is None:
            when_busy = self._when_busy(key.agent_id)
        if isinstance(body, UserMessage) and (wanted := file_ids(body.content)):
            # Before the event: a file that is there now stays as long as its thread does.
            for file_id in await self._files.missing(key, wanted):
                raise UnknownFile(file_id)
        thread_id = key.thread_id
        async with self._queue.expecting(thread_id):
            waited_s = self._clock.monotonic() - received
            new = NewEvent(event_id or self._new_id(), request_id, body, dict(trace_context or {}), waited_s)
            try:
                receipt = await self._event_store.accept(
                    key, new, replica=self._replica, queue_limit=self._queue_limit, when_busy=when_busy
                )
            except CommitUnknown:
                self._wakeups.hint(thread_id)
                raise
            if receipt.duplicate:
                return receipt
            self._live.accepted(key, receipt.event, receipt.claim)
            if receipt.claim is not None:
                self._queue.start(receipt.claim)
                self._wakeups.announce(thread_id)
            else:
                self._wakeups.hint(thread_id)
                if when_busy in CANCELS:
                    self._queue.stop(thread_id, CANCELS[when_busy], first=0, last=receipt.event.seq - 1)
        return receipt
