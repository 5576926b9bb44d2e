"""I11: who does not own a thread sees nothing of it, and changes nothing in it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.checker.history import Frame, Violation
from tests.checker.threads import Talk, Thread, says


def stranger_violations(talk: Talk, thread: Thread) -> Iterator[Violation]:
    for socket in talk.strangers:
        user = socket.query["userId"]
        for line in socket.lines:
            if line.kind == "frame" and _tells(line.frame):
                what = f"{socket.name}: {line.frame['type']} was sent to {user!r}, whose thread this is not"
                yield Violation("I11", thread.thread_id, what, (line.frame, socket.query))
            if line.kind != "sent" or not says(line.frame) or line.frame["requestId"] in talk.said:
                continue
            if (event := thread.by_request.get(line.frame["requestId"])) is not None:
                what = f"{socket.name}: what {user!r} said is event {event.seq} of another user's thread"
                yield Violation("I11", thread.thread_id, what, (line.frame, event))


def _tells(frame: Frame) -> bool:
    """A refusal tells nothing of the thread, nor does a log that never held anything."""
    if frame["type"] == "error":
        return "cursor" in frame
    return not (frame["type"] == "gap" and frame["cursor"] == 0)
