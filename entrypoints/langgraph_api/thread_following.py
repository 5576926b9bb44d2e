"""Following a thread: the streams of its runs one after another, and when each was done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Any, Final

import msgspec

from unbroken.application.deliveries import Delivery, ShowLogged, ShowUser
from unbroken.domain.events import Event, RunStart
from unbroken.domain.runs import Run
from unbroken.entrypoints.langgraph_api.run_events import END, NOTHING, RunEvent, RunEvents, Seen
from unbroken.entrypoints.langgraph_api.run_following import End, FollowedRun

RUN_MODES: Final = "run_modes"
MODES: Final = frozenset({RUN_MODES, "lifecycle", "state_update"})
"""`state_update`: nothing of its own; a state that was written is read again with the next run."""
MOST_MISSED: Final = 50
"""Runs that ended while a reader was away, and are told of afterwards; of older ones the state tells."""
DONE: Final = 999_999
"""The number of the event that says that a run is done: behind all that is made of its end."""


class FollowedThread:
    def __init__(self, followed: FollowedRun, modes: Collection[str], after: Seen = NOTHING) -> None:
        self._followed = followed
        self._modes = frozenset(modes)
        self._after = after
        self._views: dict[str, RunEvents] = {}
        """By request id, of unfinished runs: as many as may wait in a thread. What ended without a word in the log goes
        with the next that ends."""
        self._told: set[str] = set()
        """By request id: of the runs that ended while the reader was away, those that it was told of. One that ended
        just now was running still when the session was looked at: what it showed comes, and is told already."""

    async def events(self, missed: Sequence[Run]) -> AsyncGenerator[list[RunEvent], None]:
        """`missed`: runs that have ended, newest first. Until the thread is gone. Raises StoreUnavailable."""
        for run in reversed(missed):
            event = Event(run.seq, run.id, run.request_id, run.body, run.created_at)
            end = await self._followed.ended(run.id)
            if end is not None and end.body.attempt >= self._after.attempt:
                self._told.add(run.request_id)
                yield await self._ends(self._view(event), event, end)
        while (deliveries := await self._followed.next()) is not None:
            made: list[RunEvent] = []
            for delivery in deliveries:
                made += await self._take(delivery)
            entries = [one.entry for one in deliveries if isinstance(one, ShowLogged)]
            for event in {entry.event.id: entry.event for entry in entries}.values():
                end = await self._followed.end_in(entries, event.id)
                if end is None:
                    continue  # it follows
                view = self._views.get(event.request_id) or self._view(event)
                self._views = {id_: one for id_, one in self._views.items() if one.seq > event.seq}
                if event.request_id not in self._told:
                    made += await self._ends(view, event, end)
            if made:
                yield made

    async def _take(self, delivery: Delivery) -> list[RunEvent]:
        if isinstance(delivery, ShowUser):
            self._views.setdefault(delivery.event.request_id, self._view(delivery.event))
            return []
        request_id = getattr(delivery, "request_id", "")
        view = None if request_id in self._told else self._views.get(request_id)
        if view is None:
            return []
        state = await self._followed.state() if view.wants_state(delivery) else None
        return view.take(await self._followed.shown(delivery), state)

    async def _ends(self, view: RunEvents, event: Event, end: End) -> list[RunEvent]:
        made = await self._followed.told(view, event.id, end)
        seen = Seen(end.body.attempt, END, DONE)
        if seen > self._after and self._modes & {RUN_MODES, "lifecycle"}:
            data = msgspec.json.encode({"status": "run_done", "run_id": event.id})
            made.append(RunEvent("metadata", data, str(seen)))
        return made

    def _view(self, event: Event) -> RunEvents:
        body = event.body
        client: dict[str, Any] = body.client if isinstance(body, RunStart) else {}
        modes = client.get("stream_mode", ["values", "messages-tuple"]) if RUN_MODES in self._modes else []
        about = {**(body.metadata if isinstance(body, RunStart) else {}), "run_id": event.id}
        return RunEvents(event, modes, subgraphs=bool(client.get("subgraphs")), after=self._after, about=about)
