"""What is durably known of a session's events, and the story that it makes.

    received ──▶ accepted ──▶ attempt … attempt ──▶ committed ──▶ delivered ──▶ acknowledged
                                │ └ checkpoints        └ effects, one by one
                                └ another one: why

What was not stored is None: nothing here is derived from a likelihood. All times are the store's own clock, but for a
checkpoint's, which is that of the process that made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from unbroken.domain.effects import CANCELLED, EffectStatus
from unbroken.domain.errors import CancelKind
from unbroken.domain.session import SessionKey

Why = Literal["accepted", "next", "found", "again", "lease_expired", "owner_gone"]
"""Why an attempt was counted.

accepted       the session was idle when the event came
next           the event before it ended
found          a look found it waiting
again          this replica's own attempt before it ended without an end of the event: `because`
lease_expired  the replica that ran the attempt before it let its lease run out: killed, stalled, or cut off
owner_gone     the replica that ran the attempt before it has left, handed it over, or was started anew
"""


class AttemptNote(Struct, frozen=True, omit_defaults=True):
    """What is stored of an attempt; the same JSON in every store."""

    run: int
    at: datetime | None = None
    """When it was counted, which is before it ran."""
    owner: int | None = None
    """The replica's id."""
    why: Why | None = None
    because: str | None = None
    head: str | None = None
    """Of an attempt that followed another one: the root head from which it went on; "": nowhere."""
    released: bool = False
    """Its replica gave the session back: the attempt was no try."""


class DeliveryMark(Struct, frozen=True):
    """By `at` the log entries above `above`, up to `upto`, had been written to a socket, or acknowledged."""

    mark: Literal["sent", "acked"]
    above: int
    upto: int
    at: datetime


class EffectFact(Struct, frozen=True):
    id: str
    ordinal: int
    type: str
    log_index: int | None
    status: EffectStatus
    created_at: datetime
    """When its event's end was committed."""
    updated_at: datetime
    checkpoint_id: str | None
    base_id: str
    tries: int = 0
    """Of what is executed, and not only shown."""
    last_error: str | None = None
    code: str | None = None
    """Of a failure, or of what ended unsaid because it was cancelled."""
    body: Any = None
    """As JSON, of what is executed: its owner may look at a dead letter."""
    sent_at: datetime | None = None
    acked_at: datetime | None = None


class CheckpointFact(Struct, frozen=True):
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    at: datetime | None
    """By the clock of the process that made it."""
    step: int | None
    source: str | None
    root_id: str | None = None
    """Of a subgraph's: the root's checkpoint from which it was called."""
    run: int | None = None
    """Of the attempt that made it; None: not known."""


class EventFacts(Struct, frozen=True):
    """One event with all that came of it. `attempts` may lack some: `run` and `tries` say how many there were."""

    seq: int
    id: str
    request_id: str
    type: str
    received_at: datetime | None
    accepted_at: datetime
    trace_context: dict[str, str]
    run: int | None = None
    """Of its last attempt; None: none was counted, or nobody knows its number."""
    tries: int | None = None
    attempts: tuple[AttemptNote, ...] = ()
    cancelled_at: datetime | None = None
    cancel: CancelKind | None = None
    """Of an event whose cancel waits to be carried out."""
    effects: tuple[EffectFact, ...] = ()
    """In their order; empty: the event has not ended."""
    base_id: str | None = None
    """Root head before the event; "": nowhere; None: it has not begun."""
    head_id: str | None = None
    """Root head after it, or as it stands; None or "": nowhere."""
    checkpoints: tuple[CheckpointFact, ...] = ()
    """In the order of their ids."""


class SessionFacts(Struct, frozen=True):
    key: SessionKey
    created_at: datetime
    now: datetime
    """By the store's clock."""
    owner: int | None
    owner_name: str | None
    """None: it has left, or was started anew."""
    owner_alive: bool
    epoch: int
    applied_seq: int
    log_index: int
    sent: int
    acked: int
    events: tuple[EventFacts, ...]
    """Ascending; a page of them."""
    earlier: bool
    """There are events before these."""


class TurnState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    ANSWERED = "answered"
    CANCELLED = "cancelled"
    FAILED = "failed"
    SKIPPED = "skipped"


ENDS = {
    "send_message": TurnState.ANSWERED,
    "cancel_turn": TurnState.CANCELLED,
    "report_failure": TurnState.FAILED,
    "skip_event": TurnState.SKIPPED,
}


EntryKind = Literal[
    "received", "accepted", "attempt", "checkpoint", "cancel", "committed", "effect", "delivered", "acknowledged"
]


class Entry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One line of the story. `ms`: since the stage before it; absent where either time is not known."""

    kind: EntryKind
    at: datetime | None
    ms: int | None = None
    attempt: int | None = None
    why: Why | None = None
    because: str | None = None
    replica: int | None = None
    lost: bool = False
    """Of an attempt: another one followed, so this one came to no end. When it ceased is not known."""
    handed_over: bool = False
    """Of an attempt: its process was told to stop, and gave it back."""
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    step: int | None = None
    source: str | None = None
    effect_id: str | None = None
    type: str | None = None
    status: EffectStatus | None = None
    cursor: int | None = None
    tries: int | None = None
    code: str | None = None
    error: str | None = None
    body: Any = None


class Turn(Struct, frozen=True, kw_only=True, rename="camel"):
    seq: int
    request_id: str
    type: str
    state: TurnState
    attempts: int | None
    """How many were counted; None: not known."""
    trace_id: str | None
    sampled: bool
    """Whether the trace was to be exported: if not, only log lines have its id."""
    entries: tuple[Entry, ...]


def told(facts: SessionFacts) -> tuple[Turn, ...]:
    """A page of a session, event by event."""
    return tuple(story(event, running=bool(event.tries)) for event in facts.events)


def story(event: EventFacts, *, running: bool = False) -> Turn:
    """Everything known of one event, in order. `running`: its attempt is under way, as far as the store knows."""
    ends = [_end(effect) for effect in event.effects if effect.type in ENDS]
    state = ends[0] if ends else TurnState.RUNNING if running else TurnState.WAITING
    return Turn(
        seq=event.seq,
        request_id=event.request_id,
        type=event.type,
        state=state,
        attempts=_counted(event),
        trace_id=trace_id(event.trace_context),
        sampled=sampled(event.trace_context),
        entries=tuple(_entries(event)),
    )


def _end(effect: EffectFact) -> TurnState:
    """A change of the state that came to nothing ends unsaid, and with why."""
    if effect.type == "skip_event" and effect.code is not None:
        return TurnState.CANCELLED if effect.code == CANCELLED else TurnState.FAILED
    return ENDS[effect.type]


def trace_id(trace_context: dict[str, str]) -> str | None:
    """Of a W3C traceparent; None: there is none, or it is not one."""
    parts = trace_context.get("traceparent", "").split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or set(parts[1]) - set("0123456789abcdef") or not parts[1].strip("0"):
        return None
    return parts[1]


def sampled(trace_context: dict[str, str]) -> bool:
    if trace_id(trace_context) is None:
        return False
    flags = trace_context["traceparent"].split("-")[3]
    return len(flags) == 2 and flags[1] in "13579bdf"


def _counted(event: EventFacts) -> int | None:
    if event.tries is not None:
        return event.tries
    if not event.attempts:
        return None
    return (event.run or event.attempts[-1].run) - event.attempts[0].run + 1


def _entries(event: EventFacts) -> Iterator[Entry]:
    yield Entry(kind="received", at=event.received_at)
    yield Entry(kind="accepted", at=event.accepted_at, ms=_ms(event.received_at, event.accepted_at))
    yield from _attempts(event)
    if event.effects:
        began = event.attempts[-1].at if event.attempts else None
        committed_at = event.effects[0].created_at
        yield Entry(kind="committed", at=committed_at, ms=_ms(began, committed_at), attempt=event.run)
        for effect in event.effects:
            yield from _effect(effect)


def _attempts(event: EventFacts) -> list[Entry]:
    """Each attempt with what it has made; a cancel stands before whatever is known to have come later."""
    entries: list[Entry] = []
    left = list(event.checkpoints)
    before = event.accepted_at
    for attempt in _known(event):
        entries.append(replace(attempt, ms=_ms(before, attempt.at)))
        before = attempt.at or before
        mine = [row for row in left if row.run == attempt.attempt or (row.run is None and not attempt.lost)]
        left = [row for row in left if row not in mine]
        entries += map(_checkpoint, mine)
    entries += map(_checkpoint, left)
    if event.cancelled_at is not None:
        asked_at = event.cancelled_at
        cancel = Entry(kind="cancel", at=asked_at, ms=_ms(event.accepted_at, asked_at), type=event.cancel)
        later = (index for index, entry in enumerate(entries) if entry.at is not None and entry.at > asked_at)
        entries.insert(next(later, len(entries)), cancel)
    return entries


def _known(event: EventFacts) -> list[Entry]:
    """One entry for each attempt that was counted, with what is known of it."""
    notes = {note.run: note for note in event.attempts}
    last = event.run if event.run is not None else max(notes, default=None)
    if last is None:
        return []
    first = min(notes, default=last) if event.tries is None else last - event.tries + 1
    found: list[Entry] = []
    for run in range(first, last + 1):
        note = notes.get(run)
        entry = Entry(kind="attempt", at=None, attempt=run, lost=run < last)
        if note is not None:
            entry = Entry(
                kind="attempt",
                at=note.at,
                attempt=run,
                why=note.why,
                because=note.because,
                replica=note.owner,
                lost=run < last,
                handed_over=note.released,
            )
        found.append(entry)
    return found


def _checkpoint(row: CheckpointFact) -> Entry:
    return Entry(
        kind="checkpoint",
        at=row.at,
        checkpoint_id=row.checkpoint_id,
        checkpoint_ns=row.checkpoint_ns or None,
        step=row.step,
        source=row.source,
        attempt=row.run,
    )


def _effect(effect: EffectFact) -> Iterator[Entry]:
    logged = effect.log_index is not None
    done_at = effect.created_at if logged else effect.updated_at
    yield Entry(
        kind="effect",
        at=done_at,
        ms=None if logged else _ms(effect.created_at, done_at),
        effect_id=effect.id,
        type=effect.type,
        status=effect.status,
        cursor=effect.log_index,
        tries=None if logged else effect.tries,
        code=effect.code,
        error=effect.last_error,
        body=effect.body,
        checkpoint_id=effect.checkpoint_id,
    )
    sent_at = _sent_at(effect)
    if logged and effect.status is not EffectStatus.PENDING:
        sent_ms = _ms(effect.created_at, sent_at)
        yield Entry(kind="delivered", at=sent_at, ms=sent_ms, cursor=effect.log_index)
    if logged and effect.status is EffectStatus.COMPLETED:
        acked_ms = _ms(sent_at, effect.acked_at)
        yield Entry(kind="acknowledged", at=effect.acked_at, ms=acked_ms, cursor=effect.log_index)


def _sent_at(effect: EffectFact) -> datetime | None:
    """Nobody acknowledges what was not delivered: the mark of the delivery was lost with its process, and the one that
    covers it now is that of a later entry."""
    later = effect.sent_at is not None and effect.acked_at is not None and effect.sent_at > effect.acked_at
    return None if later else effect.sent_at


def _ms(start: datetime | None, end: datetime | None) -> int | None:
    if start is None or end is None:
        return None
    return max(0, round((end - start).total_seconds() * 1000))


def with_checkpoints(event: EventFacts, rows: Sequence[CheckpointFact]) -> EventFacts:
    """The event with those of its thread's checkpoints that its run has made and left in the state.

    Of the root's these are what its head goes back to, down to the head before the event; what was rolled back hangs on
    none. Of a subgraph's, those that were called from one of these.
    """
    if event.base_id is None:
        return event
    roots = {row.checkpoint_id: row for row in rows if not row.checkpoint_ns}
    made: set[str] = set()
    at = event.head_id
    while at is not None and at > event.base_id and at in roots and at not in made:
        made.add(at)
        at = roots[at].parent_id
    mine = [row for row in rows if (row.root_id if row.checkpoint_ns else row.checkpoint_id) in made]
    mine.sort(key=lambda row: row.checkpoint_id)
    return replace(event, checkpoints=tuple(replace(row, run=_maker(event, row)) for row in mine))


def _maker(event: EventFacts, row: CheckpointFact) -> int | None:
    """The attempt above whose first head the checkpoint lies, and below the next one's."""
    first, *others = event.attempts or (AttemptNote(0),)
    if first.at is None or any(note.head is None for note in others):
        return None
    heads = [("", first.run), *((note.head or "", note.run) for note in others)]
    return max((run for head, run in heads if head < row.checkpoint_id), default=first.run)
