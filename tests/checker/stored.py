"""Laws of the tables alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.checker.history import Effect, Event, History, Violation
from tests.checker.threads import Thread

VISIBLE_ENDS = frozenset({"send_message", "report_failure", "cancel_turn"})
SKIPPED = "skip_event"
IN_THE_STATE = frozenset({"user_message", "run_start", "state_update"})
"""Events of which the state holds a message under the event's own id."""


def stored_violations(history: History, thread: Thread) -> Iterator[Violation]:
    yield from _numbering(thread)
    yield from _requests(thread)
    yield from _ends(thread, settled=history.settled)
    yield from _order_of_log(thread)
    yield from _questions(thread)
    if thread.thread_id in history.tables.state_messages:
        yield from _state(thread, history.tables.state_messages[thread.thread_id], history.tables.branches)


def _numbering(thread: Thread) -> Iterator[Violation]:
    yield from _gap_free(thread, "seq", [event.seq for event in thread.events], 0)
    session = thread.session
    if session is None:
        yield Violation("I4", thread.thread_id, "events or effects without a session", (*thread.events[:3],))
        return
    indexes = [effect.log_index or 0 for effect in thread.logged]
    yield from _gap_free(thread, "log_index", indexes, session.log_floor)
    end = indexes[-1] if indexes else session.log_floor
    if session.log_index != end:
        yield Violation("I3", thread.thread_id, f"the session says its log ends at {session.log_index}, not {end}")
    if session.applied_seq > len(thread.events):
        yield Violation("I4", thread.thread_id, f"applied_seq {session.applied_seq} of {len(thread.events)} events")


def _gap_free(thread: Thread, what: str, numbers: Sequence[int], floor: int) -> Iterator[Violation]:
    for before, number in pairwise([floor, *numbers]):
        if number != before + 1:
            fault = "is doubled" if number == before else f"follows {before}"
            yield Violation("I3", thread.thread_id, f"{what} {number} {fault}")


def _requests(thread: Thread) -> Iterator[Violation]:
    requests = Counter(event.request_id for event in thread.events)
    for request_id, times in requests.items() if len(requests) < len(thread.events) else ():
        if times > 1:
            rows = tuple(event for event in thread.events if event.request_id == request_id)
            yield Violation("I2", thread.thread_id, f"request {request_id!r} became {times} events", rows)
    keys = Counter(effect.dedupe_key for effect in thread.effects)
    for key, times in keys.items() if len(keys) < len(thread.effects) else ():
        if times > 1:
            effects = tuple(effect for effect in thread.effects if effect.dedupe_key == key)
            yield Violation("I2", thread.thread_id, f"effect {key!r} exists {times} times", effects)


def _ends(thread: Thread, *, settled: bool) -> Iterator[Violation]:
    """I4: effects(e) exist ⇔ applied ≥ e. I1: and exactly one of them is the event's end."""
    applied = thread.applied_seq
    for event in thread.events:
        effects = tuple(thread.effects_of(event))
        if event.seq > applied:
            if effects:
                yield Violation("I4", thread.thread_id, f"event {event.seq} is not applied and has effects", effects)
            if settled:
                yield Violation("I1", thread.thread_id, f"event {event.seq} never reached an end", (event,))
        elif not effects:
            yield Violation("I4", thread.thread_id, f"event {event.seq} is applied and has no effects", (event,))
        else:
            yield from _one_end(thread, event, effects)
    known = {event.seq for event in thread.events}
    for effect in thread.effects:
        if effect.event_seq not in known:
            yield Violation("I4", thread.thread_id, f"an effect of event {effect.event_seq}, which is not", (effect,))


def _one_end(thread: Thread, event: Event, effects: tuple[Effect, ...]) -> Iterator[Violation]:
    ends = [effect for effect in effects if effect.type in VISIBLE_ENDS and effect.log_index is not None]
    if event.type == "state_update" and ends:
        what = f"event {event.seq} changed the state, which is nobody's saying, and its end is in the log"
        yield Violation("rule 6", thread.thread_id, what, (event, *effects))
    if event.type in ("timer_fired", "state_update") and not ends and any(effect.type == SKIPPED for effect in effects):
        return
    if len(ends) != 1:
        yield Violation("I1", thread.thread_id, f"event {event.seq} has {len(ends)} visible ends", (event, *effects))


def _order_of_log(thread: Thread) -> Iterator[Violation]:
    """I3: events apply in order. I6: and the attempts that ended them only grow."""
    for before, after in pairwise(thread.logged):
        if (after.event_seq, after.ordinal) <= (before.event_seq, before.ordinal):
            what = f"event {after.event_seq} stands in the log after event {before.event_seq}"
            yield Violation("I3", thread.thread_id, what, (before, after))
    attempts = [effect for effect in thread.logged if "attempt" in effect.payload]
    for before, after in pairwise(attempts):
        if after.payload["attempt"] <= before.payload["attempt"]:
            yield Violation("I6", thread.thread_id, "a later event ended in no later attempt", (before, after))
    for effect in attempts:
        if thread.session and effect.payload["attempt"] > thread.session.run:
            what = f"attempt {effect.payload['attempt']} was never counted: run is {thread.session.run}"
            yield Violation("I6", thread.thread_id, what, (effect,))


def _questions(thread: Thread) -> Iterator[Violation]:
    """Rule 5: who asks is waiting, who is waiting has asked. Rule 8: what was asked is closed once, before its end."""
    still: set[str] = set()
    for event in thread.events:
        effects = [effect for effect in thread.effects_of(event) if effect.log_index is not None]
        effects.sort(key=lambda row: row.log_index or 0)
        asked_for = event.payload.get("interrupt_id")
        if event.type == "input_response" and asked_for not in still:
            for effect in effects:
                if effect.type == "send_message":
                    what = f"event {event.seq} answers {asked_for}, which is not open, and was answered itself"
                    yield Violation("rule 8", thread.thread_id, what, (event, effect))
        yield from _answered_by_run(thread, event, effects, still)
        kinds = [_STAGES.get(effect.type, 1) for effect in effects]
        if kinds != sorted(kinds):
            what = f"event {event.seq}: closed questions come before the end, asked ones behind it"
            yield Violation("rule 5", thread.thread_id, what, tuple(effects))
        for effect in effects:
            if effect.type == "close_question" and effect.payload["interrupt_id"] not in still:
                what = f"event {event.seq} closes {effect.payload['interrupt_id']}, which is not open"
                yield Violation("rule 8", thread.thread_id, what, (effect,))
            elif effect.type == "close_question":
                still.remove(effect.payload["interrupt_id"])
        asked = [effect for effect in effects if effect.type == "request_input"]
        still.update(effect.payload["interrupt_id"] for effect in asked)
        waits = any(effect.type == "send_message" and effect.payload.get("waiting") for effect in effects)
        if (waits and not still) or (asked and not waits):
            what = f"event {event.seq}: waiting is {waits}, with {len(asked)} questions"
            yield Violation("rule 5", thread.thread_id, what, tuple(effects))


def _names(resume: Mapping[str, Any], interrupt_id: str) -> bool:
    """LangGraph's clients know a question by the agent's own id, which stands before our count of the askings."""
    return interrupt_id in resume or interrupt_id.rpartition(":")[0] in resume


def _answered_by_run(
    thread: Thread, event: Event, effects: Sequence[Effect], still: Collection[str]
) -> Iterator[Violation]:
    """Rule 8: a run that resumes closes, as answered, what it names of the questions that were `still` open; all
    of them, if it names none. If it names some, one of them was open."""
    resume = (event.payload.get("command") or {}).get("resume")
    if resume is None or all(effect.type != "send_message" for effect in effects):
        return
    named = {id_ for id_ in still if not isinstance(resume, dict) or _names(resume, id_)}
    if isinstance(resume, dict) and not named:
        what = f"event {event.seq} answers {sorted(resume)}, of which none is open, and was answered itself"
        yield Violation("rule 8", thread.thread_id, what, (event, *effects))
    told = {effect.payload["interrupt_id"] for effect in effects if effect.payload.get("outcome") == "answered"}
    if named - told:
        what = f"event {event.seq} answers {sorted(named - told)}, and does not close it as answered"
        yield Violation("rule 8", thread.thread_id, what, (event, *effects))


_STAGES = {"close_question": 0, "request_input": 2}


def _state(thread: Thread, messages: Sequence[str], branches: Mapping[str, Sequence[str]]) -> Iterator[Violation]:
    """I4: the head contains each answered event of the branch it is on once, no other event twice, and of the
    unfinished ones at most the one that wrote it."""
    times = Counter(messages)
    session = thread.session
    applied, head_event = (session.applied_seq, session.head_event) if session else (0, 0)
    answered = {effect.event_seq for effect in thread.effects if _done(effect)}
    left = _left_branches(thread, applied, times, branches)
    for event in thread.events:
        found = times[event.id]
        if event.type not in IN_THE_STATE:
            continue
        if event.seq in left and found:
            what = f"the head holds event {event.seq}, in whose place another one stands"
            yield Violation("I4", thread.thread_id, what, (event,))
        elif (event.seq <= applied and found > 1) or (event.seq in answered - left and found != 1):
            yield Violation(
                "I4", thread.thread_id, f"the head holds answered event {event.seq} {found} times", (event,)
            )
        may_hold = 1 if event.seq == applied + 1 == head_event else 0
        if event.seq > applied and found > may_hold:
            what = f"the head holds unfinished event {event.seq} {found} times; head_event is {head_event}"
            yield Violation("I4", thread.thread_id, what, (event,))


def _done(effect: Effect) -> bool:
    """Whether its event did what it was to do: one that ended unsaid has a code if it came to nothing."""
    return effect.type == "send_message" or (effect.type == SKIPPED and effect.payload.get("code") is None)


def _left_branches(
    thread: Thread, applied: int, times: Mapping[str, int], branches: Mapping[str, Sequence[str]]
) -> set[int]:
    """Events that are not in the conversation any more, since a message took the place of one before them, or a run
    went on from an earlier checkpoint. Who goes back to a branch that was left has that one, and not the one in
    between. A run that left nothing went nowhere; of one whose branch was left since, what remains has to tell."""
    refused = {effect.event_seq for effect in thread.effects if effect.payload.get("code") == "branch_gone"}
    places = {event.seq for event in thread.events if _goes_back(event, branches)} - refused
    last = max((seq for seq in places if seq <= applied), default=0)
    seqs = {event.id: event.seq for event in thread.events}
    before: dict[str, tuple[int, ...]] = {}
    branch: tuple[int, ...] = ()
    for event in thread.events:
        earlier = before.get(str(event.payload.get("replaces")))
        if (held := branches.get(str(event.payload.get("checkpoint_id")))) is not None:
            earlier = tuple(sorted(seqs[id_] for id_ in held if id_ in seqs))
            if not times[event.id] and (event.seq == last or _stayed(thread, times, set(branch), set(earlier))):
                earlier = None
        if earlier is not None and event.seq not in refused and (event.seq <= applied or times[event.id]):
            branch = earlier
        before[event.request_id] = branch
        branch = (*branch, event.seq)
    return {event.seq for event in thread.events} - set(branch)


def _goes_back(event: Event, branches: Mapping[str, Sequence[str]]) -> bool:
    return event.payload.get("replaces") is not None or str(event.payload.get("checkpoint_id")) in branches


def _stayed(thread: Thread, times: Mapping[str, int], here: set[int], there: set[int]) -> bool:
    """Whether a conversation is where it was, `here`, after an event that went on from a checkpoint, `there`, and left
    nothing: it was stopped before it began, or after."""
    ids = {event.seq: event.id for event in thread.events}
    answered = {effect.event_seq for effect in thread.effects if _done(effect)}
    kept = all(times[ids[seq]] for seq in (here - there) & answered)
    return kept and not any(times[ids[seq]] for seq in there - here)
