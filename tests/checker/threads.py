"""The rows and the connections of each thread, and the ways into them that the laws take: made once a history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.checker.history import Call, Effect, Event, Frame, Line, Session, Socket, Tables, Timer

FROM_USERS = frozenset({"user_message", "input_response", "run_start"})


class Thread:
    """One thread's rows."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.session: Session | None = None
        self.events: list[Event] = []
        """By `seq`."""
        self.effects: list[Effect] = []
        """By event and ordinal."""
        self.timers: list[Timer] = []
        self.by_request: dict[str, Event] = {}
        self.by_event: dict[int, list[Effect]] = {}
        self.logged: list[Effect] = []
        """What clients were to see, in the log's order."""
        self.log_before: dict[int, int] = {}
        """`seq` of an event → the log's end when it began."""

    @property
    def applied_seq(self) -> int:
        return self.session.applied_seq if self.session else 0

    def effects_of(self, event: Event) -> Sequence[Effect]:
        return self.by_event.get(event.seq, ())

    def index(self) -> None:
        self.events.sort(key=lambda row: row.seq)
        self.effects.sort(key=lambda row: (row.event_seq, row.ordinal))
        for event in reversed(self.events):
            self.by_request[event.request_id] = event
        for effect in self.effects:
            self.by_event.setdefault(effect.event_seq, []).append(effect)
        self.logged = [row for row in self.effects if row.log_index is not None]
        self.logged.sort(key=lambda row: row.log_index or 0)
        end = 0
        for event in self.events:
            self.log_before[event.seq] = end
            for effect in self.by_event.get(event.seq, ()):
                end = max(end, effect.log_index or 0)


class Talk:
    """What the clients of one thread said and were told. `sockets`: the owner's; `strangers`: of other users."""

    def __init__(self, sockets: Iterable[Socket], owner: str | None) -> None:
        self.sockets: list[Socket] = []
        self.strangers: list[Socket] = []
        self.told: defaultdict[str, list[tuple[Socket, Line]]] = defaultdict(list)
        """Frame type → each frame of it, with the socket it came over."""
        self.said: defaultdict[str, list[tuple[Socket, Line]]] = defaultdict(list)
        """Request id → each message and response sent under it."""
        self.first_sender: dict[str, Socket] = {}
        for socket in sockets:
            if owner is not None and socket.query.get("userId", owner) != owner:
                self.strangers.append(socket)
            else:
                self.sockets.append(socket)
                self._take(socket)
        for request, sayings in self.said.items():
            self.first_sender[request] = min(sayings, key=lambda saying: _moment(*saying))[0]

    def _take(self, socket: Socket) -> None:
        for line in socket.lines:
            if line.kind == "frame":
                self.told[line.frame["type"]].append((socket, line))
            elif line.kind == "sent" and says(line.frame):
                self.said[line.frame["requestId"]].append((socket, line))


def says(frame: Frame) -> bool:
    return frame.get("type") in ("message", "respond") and "requestId" in frame


def _moment(socket: Socket, line: Line) -> tuple[float, str, int]:
    return line.at, socket.view, socket.number


def threads_of(tables: Tables) -> dict[str, Thread]:
    threads: dict[str, Thread] = {}

    def thread(thread_id: str) -> Thread:
        if thread_id not in threads:
            threads[thread_id] = Thread(thread_id)
        return threads[thread_id]

    for session in tables.sessions:
        thread(session.thread_id).session = session
    for event in tables.events:
        thread(event.thread_id).events.append(event)
    for effect in tables.effects:
        thread(effect.thread_id).effects.append(effect)
    for timer in tables.timers:
        thread(timer.thread_id).timers.append(timer)
    for each in threads.values():
        each.index()
    return threads


def talks_of(sockets: Iterable[Socket], threads: dict[str, Thread]) -> dict[str, Talk]:
    by_thread: defaultdict[str, list[Socket]] = defaultdict(list)
    for socket in sockets:
        by_thread[socket.thread_id].append(socket)
    talks = {}
    for thread_id, here in by_thread.items():
        session = threads[thread_id].session if thread_id in threads else None
        talks[thread_id] = Talk(here, session.user_id if session else None)
    return talks


def unfinished_at(thread: Thread, calls: Iterable[Call], at: float) -> list[int]:
    """Events, by number, that cannot have ended by then: the very attempt that ended them asked the model later, or
    was still being answered."""
    ended = {effect.payload.get("attempt"): effect for effect in thread.logged}
    ids = {event.id: event.seq for event in thread.events}
    found = set()
    for call in calls:
        end = ended.get(call.attempt)
        if end is not None and ids.get(call.event_id) == end.event_seq:
            # What was stopped may speak on after its end; what was answered cannot.
            last = max(call.at, call.until) if end.type == "send_message" else call.at
            if last > at:
                found.add(end.event_seq)
    return sorted(found)
