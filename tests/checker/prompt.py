"""Rule 4: whoever is connected is shown what is said while it is said, whether they came before it or in the middle.

Only where one process serves everybody: what runs at another one than a reader's is shown at its end. What no fault
meets takes no half second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Final

from tests.checker.cancels import undisturbed
from tests.checker.history import ENDS, Call, History, Socket, Violation, units
from tests.checker.threads import Talk, Thread

PROMPT_S: Final = 0.5
SEPARATOR: Final = 2
"""Units between two messages."""


def prompt_violations(history: History, thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    if history.replicas != 1:
        return
    for call in calls:
        if call.pace and call.until > call.pace[0][0] + PROMPT_S:
            over = min(call.until, _told_its_end(thread, talk, call))
            for socket in talk.sockets:
                if "cursor" in socket.query:  # the old protocol shows one attempt's text, and no other's
                    yield from _late(history, thread, socket, call, over)


def _told_its_end(thread: Thread, talk: Talk, call: Call) -> float:
    """When somebody was told that the event has ended: an agent may not have heard of it, and is shown no longer."""
    requests = {event.request_id for event in thread.events if event.id == call.event_id}
    ends = (line for kind in ENDS for _, line in talk.told.get(kind, ()) if "cursor" in line.frame)
    return min((line.at for line in ends if line.frame.get("requestId") in requests), default=inf)


def _late(history: History, thread: Thread, socket: Socket, call: Call, over: float) -> Iterator[Violation]:
    closed = next((line.at for line in socket.lines if line.kind == "closed"), inf)
    shown = _shown(socket, call)
    starts = _starts(call)
    for said_at, length in call.pace:
        since = max(said_at, socket.opened_at)
        until = since + PROMPT_S
        if until >= min(over, closed):
            continue
        told = max((end for at, end in shown if at <= until), default=_start(socket, call))
        # A high surrogate waits for the other half of its character, and what separates messages for its message.
        held = 3 if length - 1 in starts else 1
        if told < length - held and undisturbed(history, thread, since, until):
            what = (
                f"{socket.name}: {length} units of attempt {call.attempt} were said by {said_at:.3f}, and {told} shown"
            )
            yield Violation("rule 4", thread.thread_id, f"{what} by {until:.3f}", (call,))
            return


def _shown(socket: Socket, call: Call) -> list[tuple[float, int]]:
    return [
        (line.at, line.frame["offset"] + len(units(line.frame["value"])) // 2)
        for line in socket.lines
        if line.kind == "frame" and line.frame["type"] == "token" and line.frame["attempt"] == call.attempt
    ]


def _starts(call: Call) -> set[int]:
    """Where the messages after the first begin, as far as they were written down."""
    lengths = [len(units(text)) // 2 for text in call.wrote or ()]
    return {end + SEPARATOR * number for number, end in enumerate(accumulate(lengths), 1)}


def _start(socket: Socket, call: Call) -> int:
    """What this client shows of the attempt already."""
    query = socket.query
    return int(query.get("offset", 0)) if query.get("attempt") == str(call.attempt) else 0
