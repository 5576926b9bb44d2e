"""Following one run: from the session's deliveries to its end, wherever it runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from unbroken.application.deliveries import Delivery, ShowGap, ShowLogged, ShowStep
from unbroken.application.subscribe import TAIL_CURSOR, Subscription
from unbroken.domain.effects import CancelTurn, LogEntry, ReportFailure, RequestInput, SendMessage
from unbroken.domain.errors import AgentRaised, ThreadDeleted
from unbroken.domain.events import Event
from unbroken.domain.ports.identity import Details
from unbroken.domain.runs import Run
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.langgraph_api.open_questions import asked_by, open_at
from unbroken.entrypoints.langgraph_api.output_values import NARROWED, narrowed
from unbroken.entrypoints.langgraph_api.run_events import Ended
from unbroken.entrypoints.service import Service

log = logging.getLogger(__name__)

T = TypeVar("T")


class View(Protocol[T]):
    """What a reader makes of a run, event by event."""

    def wants_state(self, delivery: Delivery) -> bool:
        """Whether `take` is to be given the values that are committed now, as JSON."""

    def take(self, delivery: Delivery, state: bytes | None) -> list[T]: ...

    def wants_end(self, end: Ended) -> bool:
        """Whether `ends` is to be given the values that the run's end has committed, as JSON."""

    def ends(self, end: Ended, questions: Sequence[RequestInput], state: bytes | None) -> list[T]: ...


class End(Struct, frozen=True):
    body: Ended
    questions: tuple[RequestInput, ...]
    """All that are open now: those that it has left open, then those that it asks."""
    log_index: int | None = None
    """Of the body; None: the log does not reach that far back."""


class FollowedRun:
    """Begun before the run is accepted, so that nothing of it is missed; or later, to join it. `close` it."""

    def __init__(
        self,
        service: Service,
        key: SessionKey,
        subscription: Subscription,
        *,
        joins: bool,
        user: Details | None = None,
    ) -> None:
        self._service = service
        self._user = user
        self._key = key
        self._subscription = subscription
        self.joins = joins
        """The run may have ended before this began."""
        self.also: frozenset[str] = frozenset()
        """Names of values that are shown even where the graph's output does not have them."""
        self._unreadable: AgentRaised | None = None
        """Why something could not be shown: the end says so."""

    @classmethod
    async def begin(
        cls,
        service: Service,
        key: SessionKey,
        *,
        joins: bool = False,
        whole_log: bool = False,
        user: Details | None = None,
    ) -> FollowedRun:
        """`whole_log`: everything that the thread has said so far comes first. `user`: who follows, for what makes the
        graph whose values are read. Raises NotYourThread, ThreadDeleted,
        StoreUnavailable."""
        cursor = 0 if whole_log else TAIL_CURSOR
        return cls(service, key, await service.subscribe(key, cursor=cursor, whole=True), joins=joins, user=user)

    def close(self) -> None:
        self._subscription.close()

    async def events(self, run: Event, view: View[T]) -> AsyncIterator[list[T]]:
        """What its stream says, until it has ended or is gone with its thread. Raises StoreUnavailable."""
        end = await self.ended(run.id) if self.joins else None
        while end is None:
            made: list[T] = []
            deliveries = await self.next()
            if deliveries is None:
                return
            for delivery in deliveries:
                state = await self.state() if view.wants_state(delivery) else None
                made += view.take(await self.shown(delivery), state)
            end = await self._end_in(deliveries, run.id)
            if made:
                yield made
        if last := await self.told(view, run.id, end):
            yield last

    async def end(self, run: Event) -> End | None:
        """Wait for it. None: the run is gone with its thread. Raises StoreUnavailable."""
        end = await self.ended(run.id) if self.joins else None
        while end is None:
            deliveries = await self.next()
            if deliveries is None:
                return None
            end = await self._end_in(deliveries, run.id)
        return end

    async def told(self, view: View[T], run_id: str, end: End) -> list[T]:
        """What a view makes of the end. That the user's code makes no graph to read it by is told as a failure: the
        response has begun. Raises StoreUnavailable."""
        if self._unreadable is not None:
            return view.ends(unreadable(end, self._unreadable), (), None)
        if not view.wants_end(end.body):
            return view.ends(end.body, end.questions, None)
        try:
            state = await self.values(run_id)
        except AgentRaised as error:
            return view.ends(unreadable(end, error), (), None)
        return view.ends(end.body, end.questions, state)

    async def state(self) -> bytes | None:
        """The values that are committed now, as far as runs give them away; None: the user's code makes no graph to
        read them by. Raises StoreUnavailable."""
        try:
            return await self._narrowed("values", await self._service.state.values(self._key, user=self._user))
        except AgentRaised as error:
            self._cannot_be_read(error)
            return None

    async def values(self, run_id: str) -> bytes:
        """What the run's end has committed, as far as runs give it away. Raises AgentRaised, StoreUnavailable."""
        run = await self._run(run_id)
        checkpoint_id = None if run is None else run.checkpoint_id
        state = await self._service.state.values(self._key, checkpoint_id, user=self._user)
        return await self._narrowed("values", state)

    async def shown(self, delivery: Delivery) -> Delivery:
        """With no more of the root graph's state than its runs give away."""
        if not isinstance(delivery, ShowStep) or delivery.part.method not in NARROWED:
            return delivery
        part = delivery.part
        if part.namespace or part.data is None:
            return delivery
        try:
            data = await self._narrowed(part.method, part.data)
        except AgentRaised as error:
            self._cannot_be_read(error)
            data = None  # nobody knows what of it may be shown
        return replace(delivery, part=replace(part, data=data))

    def _cannot_be_read(self, error: AgentRaised) -> None:
        if self._unreadable is None:
            log.warning("the state cannot be read: %s", error, extra={"session": str(self._key)})
        self._unreadable = error

    async def _narrowed(self, method: str, data: bytes) -> bytes:
        outputs = await self._service.state.outputs(self._key, user=self._user)
        return data if outputs is None else narrowed(method, data, outputs | self.also)

    async def next(self) -> Sequence[Delivery] | None:
        """None: the thread is gone."""
        try:
            return await self._subscription.next()
        except ThreadDeleted:
            return None

    async def _end_in(self, deliveries: Sequence[Delivery], run_id: str) -> End | None:
        if any(isinstance(delivery, ShowGap) for delivery in deliveries):
            return await self.ended(run_id)
        entries = [delivery.entry for delivery in deliveries if isinstance(delivery, ShowLogged)]
        return await self.end_in(entries, run_id)

    async def end_in(self, entries: Sequence[LogEntry], run_id: str) -> End | None:
        """None: they do not hold the run's end. Of its questions they may hold some, or none: a page of the log ends
        where it ends. Raises StoreUnavailable."""
        end = _end_of(entries, run_id)
        if end is None or end.log_index is None or not (isinstance(end.body, SendMessage) and end.body.waiting):
            return end
        outbox, thread_id = self._service.outbox, self._key.thread_id
        left = await open_at(outbox, thread_id, end.log_index)
        asked = await asked_by(outbox, thread_id, run_id, end.log_index)
        return replace(end, questions=(*left.values(), *asked))

    async def ended(self, run_id: str) -> End | None:
        """As it is stored; None: it has not, or is gone with its thread."""
        run = await self._run(run_id)
        if run is None or run.log_index is None:
            return None
        entries = await self._service.outbox.read(self._key.thread_id, after=run.log_index - 1, limit=1)
        return await self.end_in(entries, run_id) or _forgotten(run)

    async def _run(self, run_id: str) -> Run | None:
        try:
            return await self._service.runs.get(self._key.user_id, self._key.thread_id, run_id)
        except ThreadDeleted:
            return None


def unreadable(end: End, error: AgentRaised) -> ReportFailure:
    """In the place of an end whose state cannot be read."""
    return ReportFailure(error.code, str(error), end.body.attempt)


def _end_of(entries: Sequence[LogEntry], run_id: str) -> End | None:
    for entry in entries:
        if entry.event.id == run_id and isinstance(entry.body, SendMessage | CancelTurn | ReportFailure):
            return End(entry.body, (), entry.log_index)
    return None


def _forgotten(run: Run) -> End:
    """The log does not reach that far back any more: its state is all that is left to tell."""
    attempt = run.attempt or 0
    if run.code is not None:
        return End(ReportFailure(run.code, run.message or "", attempt), ())
    return End(CancelTurn("", attempt), ())
