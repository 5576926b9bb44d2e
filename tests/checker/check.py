from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from tests.checker.acks import ack_violations
from tests.checker.agreement import agreement_violations
from tests.checker.attempts import attempt_violations
from tests.checker.bounds import bound_violations
from tests.checker.busy import busy_violations
from tests.checker.cancels import cancel_violations
from tests.checker.history import Call, History, Socket, Tables, Violation
from tests.checker.legacy import legacy_violations
from tests.checker.prompt import prompt_violations
from tests.checker.provider import provider_violations
from tests.checker.settled import settled_violations
from tests.checker.socket_laws import socket_violations
from tests.checker.spoken import spoken_violations
from tests.checker.stored import stored_violations
from tests.checker.strangers import stranger_violations
from tests.checker.threads import Talk, Thread, talks_of, threads_of
from tests.checker.timers import timer_violations


def violations(
    sockets: Sequence[Socket],
    tables: Tables,
    *,
    settled: bool = True,
    watched_to_the_end: Collection[str] = (),
) -> list[Violation]:
    """As `violations_of`, where nobody wrote down what the model's provider would bill, or which faults there were."""
    watched = frozenset(watched_to_the_end)
    return violations_of(
        History(sockets, tables, settled=settled, watched_to_the_end=watched, complete=False),
    )


def violations_of(history: History) -> list[Violation]:
    """Every law that a history broke, with the evidence; empty if none."""
    threads = threads_of(history.tables)
    talks = talks_of(history.sockets, threads)
    calls: defaultdict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        calls[call.thread_id].append(call)
    found: list[Violation] = []
    for thread_id in sorted({*threads, *talks, *calls}):
        thread = threads.get(thread_id) or Thread(thread_id)
        talk = talks.get(thread_id) or Talk((), None)
        found += _of_thread(history, thread, talk, calls.get(thread_id, ()))
    return found


def _of_thread(history: History, thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    yield from stranger_violations(talk, thread)
    if thread.session is not None and thread.session.deleted:
        yield from _tombstone(thread)
        return
    if thread.session or thread.events or thread.effects:
        yield from stored_violations(history, thread)
        yield from timer_violations(history, thread, talk, calls)
        yield from bound_violations(history, thread, talk, calls)
        yield from provider_violations(history, thread)
    if history.settled:
        yield from settled_violations(history, thread)
    for socket in talk.sockets:
        to_the_end = history.settled and socket.last and socket.view in history.watched_to_the_end
        yield from socket_violations(socket, thread, talk, to_the_end=to_the_end)
        yield from legacy_violations(socket, thread, talk, to_the_end=to_the_end)
    yield from agreement_violations(history, talk, thread)
    yield from ack_violations(history, thread, talk)
    yield from spoken_violations(thread, talk, calls)
    yield from prompt_violations(history, thread, talk, calls)
    yield from cancel_violations(history, thread, talk, calls)
    yield from busy_violations(history, thread, talk, calls)
    yield from attempt_violations(history, thread, calls)


def _tombstone(thread: Thread) -> Iterator[Violation]:
    """Everything in a deleted thread is removed; what its clients saw before cannot be held against it."""
    for rows in (thread.events, thread.effects, thread.timers):
        if rows:
            yield Violation("I12", thread.thread_id, "the thread was deleted, and has rows", tuple(rows[:3]))
