"""I10: a timer fires at most once for each time that it was set, and never after its user has spoken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.checker.history import Call, Effect, Event, History, Timer, Violation
from tests.checker.threads import FROM_USERS, Talk, Thread, unfinished_at

Setting = tuple[str, int]
"""Timer id and generation."""


def timer_violations(history: History, thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    fired: dict[Setting, Event] = {}
    for event in thread.events:
        if event.type != "timer_fired":
            continue
        setting = event.payload["timer_id"], event.payload["generation"]
        if setting in fired:
            what = f"timer {_name(setting)} fired twice"
            yield Violation("I10", thread.thread_id, what, (fired[setting], event))
        fired.setdefault(setting, event)
        yield from _overtaken(thread, event, setting)
    if thread.timers:
        yield from _rows(thread, fired)
    if history.complete:
        yield from _unset(thread)
        yield from _never_set(thread)
        yield from _talked_over(thread, talk, calls)


def _never_set(thread: Thread) -> Iterator[Violation]:
    """What is completed was done: each completed effect has set its timer."""
    generations: dict[str, int] = {}
    for row in thread.timers:
        generations[row.timer_id] = max(row.generation, generations.get(row.timer_id, 0))
    for timer_id in dict.fromkeys(_timer_id(effect) for effect in thread.effects if effect.type == "schedule_timer"):
        done = [effect for effect in _setters(thread, timer_id) if effect.status == "completed"]
        if len(done) > generations.get(timer_id, 0):
            what = (
                f"timer {timer_id}: {len(done)} effects are completed, and set it {generations.get(timer_id, 0)} times"
            )
            yield Violation("I10", thread.thread_id, what, tuple(done))


def _talked_over(thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    """Whose user was told `accepted` while something before the timer's firing was unfinished has spoken before its
    turn came: nobody waits for it."""
    fired = {event.seq: event for event in thread.events if event.type == "timer_fired"}
    spoken = {event.seq: event.request_id for event in thread.events if event.type in FROM_USERS}
    for _, line in talk.told.get("accepted", ()) if fired and calls else ():
        seq = line.frame["seq"]
        if line.frame["duplicate"] or spoken.get(seq) != line.frame["requestId"]:
            continue
        first = next(iter(unfinished_at(thread, calls, line.at)), seq)
        for call in calls:
            event = next((event for event in fired.values() if event.id == call.event_id), None)
            if event is not None and first < event.seq < seq and call.attempt <= _first_attempt(thread, event):
                what = f"the model was asked about timer event {event.seq}, although event {seq} of a user was accepted"
                yield Violation("I10", thread.thread_id, what, (line.frame, event, call))


def _first_attempt(thread: Thread, event: Event) -> int:
    """The number of its first one, at the least. A later one may ask the model whoever has spoken meanwhile: what the
    first has shown must come to an end that clients see."""
    known = {0: 0} | {row.event_seq: row.payload["attempt"] for row in thread.effects if "attempt" in row.payload}
    before: int = max(seq for seq in known if seq < event.seq)
    return int(known[before]) + event.seq - before


def _unset(thread: Thread) -> Iterator[Violation]:
    """Every timer was set by an effect, and each effect sets one once."""
    generations = {event.payload["timer_id"]: event.payload["generation"] for event in thread.events if _fires(event)}
    for row in thread.timers:
        generations[row.timer_id] = max(row.generation, generations.get(row.timer_id, 0))
    for timer_id, generation in generations.items():
        if generation > (times := len(_setters(thread, timer_id))):
            what = f"timer {timer_id} was set {generation} times, and {times} effects set it"
            yield Violation("I10", thread.thread_id, what, tuple(_setters(thread, timer_id)))


def _fires(event: Event) -> bool:
    return event.type == "timer_fired"


def _rows(thread: Thread, fired: dict[Setting, Event]) -> Iterator[Violation]:
    newest: dict[str, int] = {}
    rows: dict[Setting, Timer] = {}
    for stored in thread.timers:
        newest[stored.timer_id] = max(stored.generation, newest.get(stored.timer_id, 0))
        rows[stored.timer_id, stored.generation] = stored
    for setting, event in fired.items():
        row = rows.get(setting)
        if row is not None and row.status != "fired":
            what = f"timer {_name(setting)} fired, and is {row.status}"
            yield Violation("I10", thread.thread_id, what, (row, event))
        elif row is None and setting[1] > newest.get(setting[0], 0):
            yield Violation("I10", thread.thread_id, f"timer {_name(setting)} fired, and was never set", (event,))
    for setting, stored in rows.items():
        if stored.status == "fired" and setting not in fired:
            yield Violation("I10", thread.thread_id, f"timer {_name(setting)} fired, and there is no event", (stored,))
        elif stored.status == "pending":
            yield from _outlived(thread, stored, newest[stored.timer_id])


def _outlived(thread: Thread, row: Timer, newest: int) -> Iterator[Violation]:
    setters = _setters(thread, row.timer_id)
    setter = _setter(setters, row.generation)
    spoken = [event for event in thread.events if event.type in FROM_USERS]
    if setter is not None and spoken and spoken[-1].seq > setter.event_seq:
        what = f"timer {_name((row.timer_id, row.generation))} still stands, although a user has spoken"
        yield Violation("I10", thread.thread_id, what, (row, setter, spoken[-1]))
    if row.generation < newest:
        what = f"timer {_name((row.timer_id, row.generation))} still stands, although it was set anew"
        yield Violation("I10", thread.thread_id, what, (row,))


def _overtaken(thread: Thread, event: Event, setting: Setting) -> Iterator[Violation]:
    """No user's event lies between the one that set a timer and its firing."""
    setters = _setters(thread, setting[0])
    before = [effect for effect in setters if effect.event_seq < event.seq]
    if not setters:
        return  # set by nobody we know of
    setter = _setter(setters, setting[1])
    if setter is None and before:
        setter = before[-1]
    if setter is None or setter.event_seq >= event.seq:
        what = f"timer {_name(setting)} fired before it was set"
        yield Violation("I10", thread.thread_id, what, (event, *setters))
        return
    between = [e for e in thread.events if setter.event_seq < e.seq < event.seq and e.type in FROM_USERS]
    if between:
        what = f"timer {_name(setting)} fired, although event {between[0].seq} of a user had cancelled it"
        yield Violation("I10", thread.thread_id, what, (setter, between[0], event))


def _setters(thread: Thread, timer_id: str) -> list[Effect]:
    """Effects that set this timer, in the order in which they are executed."""
    return [effect for effect in thread.effects if effect.type == "schedule_timer" and _timer_id(effect) == timer_id]


def _timer_id(effect: Effect) -> str:
    return str(effect.payload.get("timer_id") or effect.dedupe_key)


def _setter(setters: Sequence[Effect], generation: int) -> Effect | None:
    """Each effect sets one generation. None: nobody can tell, as one of them was given up, perhaps after it had."""
    if any(effect.status == "failed" for effect in setters) or generation > len(setters):
        return None
    return setters[generation - 1]


def _name(setting: Setting) -> str:
    return f"{setting[0]}/{setting[1]}"
