"""What is acknowledged, a client has acknowledged: a write to a socket proves nothing, nor does a cursor that was never
handed out."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from tests.checker.history import History, Socket, Violation
from tests.checker.threads import Talk, Thread


def ack_violations(history: History, thread: Thread, talk: Talk) -> Iterator[Violation]:
    session = thread.session
    if session is not None and session.acked is not None:
        most = acknowledged(talk, session.log_index)
        if session.acked > (most if history.complete else session.log_index):
            what = f"{session.acked} is acknowledged of a log up to {session.log_index}, and by clients only {most}"
            yield Violation("rule 9", thread.thread_id, what, (session,))
    for socket in talk.sockets:
        yield from _refused(thread, socket)


def _refused(thread: Thread, socket: Socket) -> Iterator[Violation]:
    told, ahead = _cursor(socket), False
    for line in socket.lines:
        cursor = line.frame.get("cursor")
        if line.kind == "sent" and line.frame.get("type") == "ack":
            ahead = ahead or line.frame["cursor"] > told
        elif line.frame.get("code") == "ack_ahead" and not ahead:
            what = f"{socket.name}: refused as ahead, and acknowledged nothing but what it was told"
            yield Violation("rule 9", thread.thread_id, what, (line.frame,))
        elif cursor is not None:
            told = max(told, cursor)


def acknowledged(talk: Talk, end: int, *, by: float = inf) -> int:
    """The most that anyone can have acknowledged by then, of a log that ends there: beyond it nothing counts."""
    most = 0
    for socket in talk.sockets:
        sent = [line.frame["cursor"] for line in socket.lines if line.frame.get("type") == "ack" and line.at <= by]
        if socket.opened_at <= by:
            sent.append(_cursor(socket))
        most = max(most, *(cursor for cursor in sent if cursor <= end), 0)
    return most


def _cursor(socket: Socket) -> int:
    cursor = socket.query.get("cursor", "")
    return int(cursor) if cursor.isdigit() else 0
