from __future__ import annotations

from collections.abc import Collection, Sequence

from tests.checker.agreement import agreement_violations
from tests.checker.history import Socket, Tables, Violation
from tests.checker.socket_laws import socket_violations
from tests.checker.stored import stored_violations


def violations(
    sockets: Sequence[Socket],
    tables: Tables,
    *,
    settled: bool = True,
    watched_to_the_end: Collection[str] = (),
) -> list[Violation]:
    """Every law that a history broke, with the evidence; empty if none.

    `settled`: the last fault is over and everything accepted had time to end. `watched_to_the_end`: names of the
    clients that were still connected then; they must have been told the whole log.
    """
    found = list(stored_violations(tables, settled=settled))
    for thread_id in sorted({socket.thread_id for socket in sockets}):
        thread = tables.thread(thread_id)
        here = [socket for socket in sockets if socket.thread_id == thread_id]
        first_senders = _first_senders(here)
        for socket in here:
            to_the_end = settled and socket.last and socket.view in watched_to_the_end
            found += socket_violations(socket, thread, first_senders.get, to_the_end=to_the_end)
        found += agreement_violations(here, thread)
    return found


def _first_senders(sockets: Sequence[Socket]) -> dict[str, str]:
    """Request id → the socket that sent it first."""
    sendings = [
        (line.at, socket.view, socket.number, line.frame["requestId"], socket.name)
        for socket in sockets
        for line in socket.lines
        if line.kind == "sent" and line.frame.get("type") in {"message", "respond"} and "requestId" in line.frame
    ]
    first: dict[str, str] = {}
    for _, _, _, request, name in sorted(sendings):
        first.setdefault(request, name)
    return first
