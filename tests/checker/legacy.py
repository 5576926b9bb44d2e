"""Rule 10: a client of the old protocol cannot say where it is, so nothing may be left out for it."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from tests.checker.acks import acknowledged
from tests.checker.history import DURABLE, Effect, Socket, Violation
from tests.checker.stored import VISIBLE_ENDS
from tests.checker.threads import Talk, Thread

TOO_FAR = 500
"""Log entries: who is further behind gets a `gap`, which that protocol does not know."""


def legacy_violations(socket: Socket, thread: Thread, talk: Talk, *, to_the_end: bool) -> Iterator[Violation]:
    """It is told every end behind what somebody has acknowledged, up to the last one that it sees."""
    if "cursor" in socket.query or len(thread.logged) > TOO_FAR:
        return
    position: int | None = None
    log_index = thread.session.log_index if thread.session else 0
    for line in socket.lines:
        frame = line.frame
        if line.kind != "frame" or "cursor" not in frame or frame["type"] not in DURABLE:
            continue
        begin = acknowledged(talk, log_index, by=line.at) if position is None else position
        if missing := _ends(thread, begin, frame["cursor"]):
            what = f"{socket.name}: an old client was told {frame['cursor']} after {begin}, and not what lies between"
            yield Violation("I8", thread.thread_id, what, (frame, *missing))
        position = max(frame["cursor"], begin)
    if position is not None and to_the_end and (missing := _ends(thread, position, inf)):
        what = f"{socket.name}: an old client watched to the end and was told only up to {position}"
        yield Violation("I1", thread.thread_id, what, tuple(missing))


def _ends(thread: Thread, behind: float, before: float) -> list[Effect]:
    return [row for row in thread.logged if row.type in VISIBLE_ENDS and behind < (row.log_index or 0) < before]
