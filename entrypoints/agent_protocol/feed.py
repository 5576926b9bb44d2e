"""One connection's events: what its subscriptions want of what a session says.

There is one reader of the session and one narrator, however many subscriptions a connection has. Each of these has
a mark, the highest `seq` that was told under it; another one that begins makes the reader begin again, far enough
back, and the marks of the others spare them what they have seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from unbroken.application.deliveries import Delivery, ShowGap, ShowLogged
from unbroken.application.subscribe import EachPart, Subscription
from unbroken.domain.effects import RequestInput, SendMessage
from unbroken.domain.errors import AgentRaised
from unbroken.domain.ports.identity import Details
from unbroken.domain.ports.thread_states import Spot
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.agent_protocol import positions
from unbroken.entrypoints.agent_protocol.filters import only_watches, records, wants
from unbroken.entrypoints.agent_protocol.narrator import STATE, Narrator
from unbroken.entrypoints.agent_protocol.start import Start, start
from unbroken.entrypoints.agent_protocol.wire import Event, EventParams, Filter
from unbroken.entrypoints.langgraph_api.open_questions import open_at
from unbroken.entrypoints.service import Service

log = logging.getLogger(__name__)

HOLD_S: Final = 1.0
"""A watch that begins on a thread at rest is told how its last turn ended only if no other begins meanwhile: clients
begin to watch before they start a run, or right after they did, and take any end for that run's."""

LOOK_S: Final = 0.5
"""Between two looks for the agent of a thread that had no run yet."""

FindKey = Callable[[], Awaitable[SessionKey | None]]
"""Whose session and which agent's; None: the thread had no run yet, or is not this user's. Raises StoreUnavailable."""


class _Wanted:
    __slots__ = ("filter", "mark")

    def __init__(self, wanted: Filter, since: int | None) -> None:
        self.filter = wanted
        self.mark = since
        """The highest `seq` told under it. None: nothing was, and it begins with what is current."""


class _Held(Struct, frozen=True):
    end: int
    """Of the log, when the watch began."""
    until: float
    """By the loop's clock."""


class Feed:
    """Not to be shared between readers of a connection: one calls `next`, anybody the rest."""

    def __init__(
        self, service: Service, find_key: FindKey, now_ms: Callable[[], int], user: Details | None = None
    ) -> None:
        """`user`: who reads, for what makes the graph whose state is told."""
        self._service = service
        self._user = user
        self._find_key = find_key
        self._key: SessionKey | None = None
        self._now_ms = now_ms
        self._wanted: dict[str, _Wanted] = {}
        self._subscription: Subscription | None = None
        self._narrator = Narrator("", now_ms)
        self._begins_anew = True
        self._held: _Held | None = None
        self._changed = asyncio.Event()

    def add(self, name: str, wanted: Filter, since: int | None = None) -> None:
        self._wanted[name] = _Wanted(wanted, since)
        self._begins_anew = True
        self._held = None
        self.interrupt()

    def remove(self, name: str) -> bool:
        """False: there is none of that name."""
        return self._wanted.pop(name, None) is not None

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, name: str) -> bool:
        return name in self._wanted

    def interrupt(self) -> None:
        """Let a waiting `next` return, with or without news."""
        self._changed.set()
        if self._subscription is not None:
            self._subscription.interrupt()

    def rest(self, seconds: float) -> None:
        """Let more text gather before the next look."""
        if self._subscription is not None:
            self._subscription.rest(seconds)

    def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()

    async def next(self) -> list[Event]:
        """Wait for news and return what is wanted of it, in order; maybe nothing, also after `interrupt`.

        Raises NotYourThread, ThreadDeleted, StoreUnavailable.
        """
        if not self._wanted:
            await self._changed.wait()
            self._changed.clear()
            return []
        if self._begins_anew:
            self._begins_anew = False
            await self._begin()
        if self._subscription is None:
            return []
        if self._changed.is_set():
            self._changed.clear()
            self._subscription.interrupt()
        return await self._told(await self._subscription.next())

    async def _begin(self) -> None:
        """Raises as `next`; then, and while the thread had no run, the next call begins again."""
        self.close()
        wanted = list(self._wanted.values())
        try:
            key = self._key = self._key or await self._find_key()
            if key is None:
                self._begins_anew = True
                await self._wait(LOOK_S)
                return
            marks = [0 if one.mark is None and records(one.filter) else one.mark for one in wanted]
            found = await start(self._service.sessions, self._service.outbox, key, marks)
            if self._held or (found.at_rest and all(one.mark is None and only_watches(one.filter) for one in wanted)):
                since_held = await self._hold(key, found)
                if since_held is None:
                    self._begins_anew = True
                    return
                found, self._held = since_held, None
            latest = max((positions.attempt_of(one.mark) for one in wanted if one.mark is not None), default=0)
            self._subscription = await self._service.subscribe(key, cursor=found.cursor, shown=EachPart(latest))
        except BaseException:
            self._begins_anew = True
            raise
        seen = {one.mark for one in wanted if one.mark is not None}
        self._narrator = Narrator(key.agent_id, self._now_ms, seen=seen)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    async def _hold(self, key: SessionKey, found: Start) -> Start | None:
        """What is told when nothing is held back any more. None: `interrupt` was called, and the wait is not over."""
        loop = asyncio.get_running_loop()
        held = self._held = self._held or _Held(found.end, loop.time() + HOLD_S)
        since_held = Start(held.end, found.end, at_rest=False)
        if found.end > held.end or not found.at_rest:
            return since_held
        subscription = self._subscription = await self._service.subscribe(key, cursor=held.end)
        if self._changed.is_set():
            self._changed.clear()
            subscription.interrupt()
        try:
            async with asyncio.timeout_at(held.until):
                return since_held if await subscription.next() else None
        except TimeoutError:
            return found
        finally:
            self.close()

    async def _told(self, deliveries: Iterable[Delivery]) -> list[Event]:
        assert self._subscription is not None
        events: list[Event] = []
        for delivery in deliveries:
            if isinstance(delivery, ShowGap):
                await self._bridge(events)
            for event in self._narrator.tell(delivery, await self._left_open(delivery)):
                await self._tell(events, event)
        if self._subscription.cursor == self._subscription.log_index:
            for event in self._narrator.flush():
                await self._tell(events, event)
        return events

    async def _left_open(self, delivery: Delivery) -> Sequence[RequestInput]:
        if not isinstance(delivery, ShowLogged):
            return ()
        entry = delivery.entry
        if self._key is None or not (isinstance(entry.body, SendMessage) and entry.body.waiting):
            return ()
        return tuple((await open_at(self._service.outbox, self._key.thread_id, entry.log_index)).values())

    async def _tell(self, events: list[Event], event: Event) -> None:
        wanted = False
        for one in self._wanted.values():
            if one.mark is None or event.seq > one.mark:
                wanted = wants(one.filter, event) or wanted
                one.mark = event.seq
        if wanted and event.params.data is STATE:
            await self._fill(events, event)
        elif wanted:
            events.append(event)

    async def _fill(self, events: list[Event], event: Event) -> None:
        """Not for a turn that others have followed: theirs is the state by now."""
        assert self._subscription is not None
        assert self._key is not None
        if self._subscription.cursor == self._subscription.log_index:
            try:
                values = (await self._service.states.read(self._key, Spot(), user=self._user))["values"]
            except AgentRaised as error:
                log.warning("the state cannot be read: %s", error, extra={"session": str(self._key)})
                return
            events.append(replace(event, params=replace(event.params, data=values)))

    async def _bridge(self, events: list[Event]) -> None:
        """The log is not there any more, or not that far: what it came to is."""
        mark = max((one.mark or 0 for one in self._wanted.values()), default=0)
        event = Event(f"gap.{mark}", mark, "values", EventParams((), self._now_ms(), STATE))
        if any(wants(one.filter, event) for one in self._wanted.values()):
            await self._fill(events, event)
