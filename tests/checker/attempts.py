"""I14: an event is tried once, and again only for a declared retry or for something that was done to the system."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.checker.history import Call, Fault, History, Violation
from tests.checker.threads import Thread


def attempt_violations(history: History, thread: Thread, calls: Sequence[Call]) -> Iterator[Violation]:
    if not history.complete:
        return
    costly = [fault for fault in history.faults if fault.costs_attempts]
    by_event: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_event[call.event_id].append(call)
    for event_id, asked in by_event.items():
        yield from _of_event(history, thread, event_id, asked, costly)
    if thread.session is not None:
        retries = sum(call.end == "retryable" for call in calls)
        lost = sum(fault.thread_id in ("", thread.thread_id) for fault in costly)
        if thread.session.run > len(thread.events) + retries + lost:
            why = f"with {retries} retries and {lost} faults"
            what = f"{thread.session.run} attempts at {len(thread.events)} events, {why}"
            yield Violation("I14", thread.thread_id, what, (thread.session,))


def _of_event(
    history: History, thread: Thread, event_id: str, calls: list[Call], costly: Sequence[Fault]
) -> Iterator[Violation]:
    if not any(event.id == event_id for event in thread.events):
        yield Violation("I7", thread.thread_id, f"the model worked on {event_id}, which is not stored", tuple(calls))
    times = Counter(call.attempt for call in calls)
    if max(times.values()) > history.calls_per_attempt:
        what = f"{event_id}: one attempt asked the model {max(times.values())} times"
        yield Violation("I14", thread.thread_id, what, tuple(calls))
    if len(times) == 1:
        return
    first, last = min(call.at for call in calls), max(call.at for call in calls)
    retries = len({call.attempt for call in calls if call.end == "retryable"})
    lost = sum(fault.meets(thread.thread_id, first, last) for fault in costly)
    if len(times) > 1 + retries + lost:
        what = f"{event_id}: {len(times)} attempts with {retries} retries and {lost} faults"
        yield Violation("I14", thread.thread_id, what, tuple(calls))
