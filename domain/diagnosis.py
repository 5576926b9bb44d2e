"""What is stuck, since when, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from unbroken.domain.audit import Why
from unbroken.domain.session import SessionKey

POLL_S = 10.0
"""Every poll has looked by then, and every lease of a dead replica that left in order is given back."""


class UnfinishedEvent(Struct, frozen=True):
    """The oldest unfinished event of a session."""

    key: SessionKey
    seq: int
    request_id: str
    accepted_at: datetime
    waiting: int
    """Unfinished events of the session, this one included."""
    tries: int
    run: int
    attempt_at: datetime | None
    """When the last attempt was counted; None: none was, or it is not known."""
    why: Why | None
    because: str | None
    cancelled_at: datetime | None
    owner: str | None
    """The replica's name; None: nobody, or it has left, or was started anew."""
    lease_until: datetime | None


class OwedEffect(Struct, frozen=True):
    """One that is executed, and not only shown."""

    key: SessionKey
    effect_id: str
    type: str
    since: datetime
    """When it was due; of a dead letter, when it was given up."""
    tries: int
    last_error: str | None


class DueTimer(Struct, frozen=True):
    key: SessionKey
    timer_id: str
    fire_at: datetime


class StoreFacts(Struct, frozen=True):
    now: datetime
    replicas_alive: int
    unfinished: tuple[UnfinishedEvent, ...] = ()
    overdue: tuple[OwedEffect, ...] = ()
    dead_letters: tuple[OwedEffect, ...] = ()
    timers: tuple[DueTimer, ...] = ()


class Finding(Struct, frozen=True, rename="camel"):
    """One thing that a person should look at."""

    what: str
    session: str
    since: datetime
    seconds: int
    details: str
    advice: str


def diagnose(facts: StoreFacts, *, turn_limit_s: float) -> list[Finding]:
    """The oldest first. An event whose attempt runs, is within its time limit and was not cancelled is not stuck."""
    found = [*_events(facts, turn_limit_s), *_effects(facts), *_timers(facts)]
    return sorted(found, key=lambda finding: finding.since)


def _events(facts: StoreFacts, turn_limit_s: float) -> Iterator[Finding]:
    for event in facts.unfinished:
        alive = event.lease_until is not None and event.lease_until > facts.now
        about = f"event {event.seq} (request {event.request_id}), {event.waiting} unfinished in this session"
        if not alive:
            yield _finding(
                facts, event.key, "nobody works on a message", event.accepted_at, *_unowned(facts, event, about)
            )
        elif event.cancelled_at is not None and _older(facts, event.cancelled_at, POLL_S):
            details = f"{about}; its attempt runs at {event.owner}"
            advice = f"restart {event.owner}: whoever takes the message up ends it as cancelled"
            yield _finding(facts, event.key, "a cancel is not carried out", event.cancelled_at, details, advice)
        elif not event.tries:
            details = f"{about}; {event.owner} is alive and has not begun it"
            advice = f"see whether all turns of {event.owner} are taken (UNBROKEN_CONCURRENT_TURNS), else restart it"
            yield _finding(facts, event.key, "a message waits at a live replica", event.accepted_at, details, advice)
        elif event.attempt_at is not None and _older(facts, event.attempt_at, turn_limit_s + POLL_S):
            details = f"{about}; attempt {event.run} runs at {event.owner}{_why(event)}"
            advice = f"restart {event.owner}: its attempt has outlived UNBROKEN_TURN_LIMIT_S"
            yield _finding(facts, event.key, "an attempt outlives its limit", event.attempt_at, details, advice)
        elif event.tries > 1:
            since = event.attempt_at or event.accepted_at
            details = f"{about}; try {event.tries}, attempt {event.run}, runs at {event.owner}{_why(event)}"
            advice = "look at the log for why the tries before it ended; it is given up after UNBROKEN_MAX_TRIES"
            yield _finding(facts, event.key, "a message is tried again", since, details, advice)


def _unowned(facts: StoreFacts, event: UnfinishedEvent, about: str) -> tuple[str, str]:
    if event.lease_until is not None:
        details = f"{about}; the lease of {event.owner} ended at {event.lease_until:%Y-%m-%d %H:%M:%S}Z"
    else:
        details = f"{about}; its replica has left, or was started anew"
    if not facts.replicas_alive:
        return details, "start a replica on this database: it takes the message up within a second"
    return details, "live replicas should have taken it up: ask their /health/ready, and restart the one that is not"


def _why(event: UnfinishedEvent) -> str:
    words = {
        "again": f"; the one before ended: {event.because or 'not known why'}",
        "lease_expired": "; the one before was lost with its replica's lease",
        "owner_gone": "; the one before was lost with its process",
    }
    return words.get(event.why or "", "")


def _effects(facts: StoreFacts) -> Iterator[Finding]:
    for effect in facts.dead_letters:
        details = f"{effect.type} {effect.effect_id}, {effect.tries} tries; {effect.last_error or 'why is not known'}"
        advice = f"mend what fails, then: unbroken retry '{effect.key}' {effect.effect_id}"
        yield _finding(facts, effect.key, "an effect was given up", effect.since, details, advice)
    for effect in facts.overdue:
        details = f"{effect.type} {effect.effect_id}, {effect.tries} tries; {effect.last_error or 'no error is known'}"
        advice = "effects are executed by any live replica: see that one runs, and look at its log"
        yield _finding(facts, effect.key, "an effect is overdue", effect.since, details, advice)


def _timers(facts: StoreFacts) -> Iterator[Finding]:
    for timer in facts.timers:
        advice = "timers are fired by any live replica: see that one runs, and look at its log"
        yield _finding(facts, timer.key, "a timer is overdue", timer.fire_at, f"timer {timer.timer_id}", advice)


def _finding(facts: StoreFacts, key: SessionKey, what: str, since: datetime, details: str, advice: str) -> Finding:
    seconds = max(0, round((facts.now - since).total_seconds()))
    return Finding(what, str(key), since, seconds, details, advice)


def _older(facts: StoreFacts, moment: datetime, seconds: float) -> bool:
    return facts.now - moment > timedelta(seconds=seconds)
