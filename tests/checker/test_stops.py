"""Each way in which cancels, timers, strangers, bounds, ends and attempts can show a broken promise."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from msgspec.structs import replace

from tests.checker.check import violations_of
from tests.checker.history import Call, Fault, Violation
from tests.checker.stops import Change, Stops
from tests.checker.story import effect, event, frame, opened, sent, token, user


def of(stops: Stops, change: Change) -> list[Violation]:
    change(stops)
    return stops.check()


def told(violations: list[Violation]) -> list[str]:
    return [f"{violation.law} {violation.what}" for violation in violations]


def put(number: int, at: float, row: dict[str, Any], *, trace: str = "tab") -> Change:
    """A line before another."""
    return lambda stops: getattr(stops, trace).insert(number, (at, row))


def at(number: int, moment: float) -> Change:
    return lambda stops: stops.tab.__setitem__(number, (moment, stops.tab[number][1]))


def update(table: str, number: int, **columns: Any) -> Change:
    return lambda stops: stops.row(table, number).update(columns)


def both(*changes: Change) -> Change:
    def change(stops: Stops) -> None:
        for each in changes:
            each(stops)

    return change


def sets(**columns: Any) -> Change:
    """One more setting of a timer, which a user's message has cancelled."""
    return lambda stops: stops.tables["timers"].append({"thread_id": "t", "status": "cancelled", **columns})


def never_answered(stops: Stops) -> None:
    """The tab's late cancel gets no answer, and the connection goes on."""
    stops.tab[30] = (90.0, sent("ack", cursor=4))


def ends_in_a_final(stops: Stops) -> None:
    stops.row("effects", 0).update(type="send_message")
    stops.told(stops.tab, 9).update(type="final", attempt=1, content=[], revised=False, waiting=False)


def fires_again(stops: Stops) -> None:
    stops.tables["events"][3] = event(4, "timer:x/1b", "timer_fired", timer_id="x", generation=1)


def fires_after_its_cancel(stops: Stops) -> None:
    """Generation 2 fires as event 5, behind the message that cancelled it."""
    stops.tables["events"].append(event(5, "timer:x/2", "timer_fired", timer_id="x", generation=2))
    stops.tables["effects"].append(effect(5, 0, None, "skip_event", reason=""))
    stops.row("sessions").update(applied_seq=5)


def overfull(stops: Stops) -> None:
    """Four messages were accepted while the model had not yet been asked about the first."""
    stops.calls[0] = replace(stops.calls[0], at=100.0)


def without_retry(stops: Stops) -> None:
    stops.calls[1] = replace(stops.calls[1], end="failed")


def reads_along(stops: Stops) -> None:
    stops.eve.insert(1, (5.1, user("r2", 2, content="do")))


def eve_is_heard(stops: Stops) -> None:
    stops.row("events", 3).update(request_id="e1")


BREACHES: dict[str, tuple[str, str, Change]] = {
    "a confirmed cancel that ended in an answer": ("I9", "ended in send_message", ends_in_a_final),
    "a cancel confirmed to whom did not ask": (
        "I9",
        "which this socket did not cancel",
        put(4, 80.1, frame("cancelling", "r4"), trace="phone"),
    ),
    "a cancel confirmed of what is not stored": (
        "I9",
        "which is not stored",
        both(put(6, 1.9, sent("cancel", requestId="r9")), put(7, 1.9, frame("cancelling", "r9"))),
    ),
    "a cancel confirmed after the end": ("I9", "after its end", put(30, 80.5, frame("cancelling", "r4"))),
    "a cancel confirmed late": ("I9", "no answer for", both(at(6, 1.45), at(7, 2.46), at(8, 2.46))),
    "a cancel refused late": ("I9", "no answer for", both(at(30, 81.5), at(31, 81.5), at(32, 81.5))),
    "a cancel never answered": ("I9", "no answer for", never_answered),
    "output a second after the cancel": ("I9", "token of r1 1.1", both(at(8, 3.35), at(9, 3.4))),
    "a model asked after the cancel": ("I9", "the model was asked", lambda s: s.calls_again(0, attempt=9, at=3.3)),
    "ended and not ended": (
        "I9",
        "has no end",
        lambda stops: stops.told(stops.tab, 30).update(requestId="r6"),
    ),
    "accepted and unknown": (
        "I9",
        "and then unknown",
        lambda stops: stops.tab.__setitem__(
            7, (2.2, frame("error", "r1", code="unknown_request", message="", retryable=False))
        ),
    ),
    "a timer that fired twice": ("I10", "fired twice", fires_again),
    "a timer that fired after its cancel": ("I10", "had cancelled it", fires_after_its_cancel),
    "a cancelled timer that fired": ("I10", "is cancelled", fires_after_its_cancel),
    "a timer that nobody set": ("I10", "z was set 1 times, and 0 effects", sets(timer_id="z", generation=1)),
    "a timer that one effect set twice": ("I10", "x was set 3 times, and 2 effects", sets(timer_id="x", generation=3)),
    "a timer of a completed effect that was never set": (
        "I10",
        "x: 2 effects are completed, and set it 1 times",
        lambda stops: stops.tables["timers"].pop(),
    ),
    "a timer that talks over its user": (
        "I10",
        "asked about timer event 3, although event 4 of a user was accepted",
        both(
            lambda stops: stops.tab.__setitem__(23, (80.25, stops.tab[23][1])),
            lambda stops: stops.calls.__setitem__(3, replace(stops.calls[3], until=80.2)),
        ),
    ),
    "a timer that fired and stands": ("I10", "x/1 fired, and is pending", update("timers", 0, status="pending")),
    "a timer that was never set": ("I10", "never set", lambda s: s.row("events", 2)["payload"].update(generation=3)),
    "a timer whose firing was lost": (
        "I10",
        "there is no event",
        lambda stops: stops.row("events", 2).update(type="user_message"),
    ),
    "a timer that stands after a message": (
        "I10",
        "a user has spoken",
        update("timers", 1, status="pending"),
    ),
    "a timer that stands although it was set anew": (
        "I10",
        "was set anew",
        update("timers", 0, status="pending"),
    ),
    "a timer that fired before it was set": (
        "I10",
        "before it was set",
        update("effects", 2, event_seq=4, ordinal=1),
    ),
    "a stranger who reads along": ("I11", "was sent to 'eve'", reads_along),
    "a stranger who reads the end": (
        "I11",
        "was sent to 'eve'",
        put(1, 5.1, frame("error", "r1", cursor=1, code="x", message="", retryable=False), trace="eve"),
    ),
    "a stranger who learns how long the log is": (
        "I11",
        "gap was sent",
        lambda stops: stops.told(stops.eve, 1).update(cursor=1),
    ),
    "a stranger who is heard": ("I11", "event 4 of another user's thread", eve_is_heard),
    "a token frame too long": ("I12", "more than 8192", put(8, 2.25, token("r1", 1, 2, "x" * 8_193))),
    "a queue too long": (
        "I12",
        "unfinished events, and the limit is 3",
        update("sessions", 0, applied_seq=0),
    ),
    "a message accepted into a full queue": ("I12", "while 1 was unfinished", overfull),
    "a queue that was never full": ("I12", "refused as full", lambda s: s.tables["events"].__delitem__(slice(2, 4))),
    "checkpoints that nobody removes": (
        "I12",
        "151 checkpoints are kept; 150",
        lambda stops: stops.tables["counts"]["t"].update(checkpoints=151),
    ),
    "marks that nobody removes": ("I12", "1 cancels are left", lambda s: s.tables["counts"]["t"].update(controls=1)),
    "an event without an end": ("I13", "1 accepted events have no end", update("sessions", 0, applied_seq=3)),
    "an attempt that stays open": ("I13", "an attempt is open", update("sessions", 0, tries=1)),
    "an effect that nobody executes": ("I13", "is executing for ever", update("effects", 2, status="executing")),
    "an attempt too many": ("I14", "e4: 2 attempts", lambda s: s.calls_again(5, attempt=7, at=80.3)),
    "a second try after a failure for good": ("I14", "e2: 3 attempts with 0 retries", without_retry),
    "a try that a fault elsewhere cannot excuse": (
        "I14",
        "e2: 3 attempts",
        lambda s: s.faults.__setitem__(0, replace(s.faults[0], thread_id="other")),
    ),
    "a try that a fault beside it cannot excuse": (
        "I14",
        "e2: 3 attempts",
        lambda s: s.faults.__setitem__(0, replace(s.faults[0], at=6.2, until=7.0)),
    ),
    "a try that a harmless fault cannot excuse": (
        "I14",
        "e2: 3 attempts",
        lambda s: s.faults.__setitem__(0, replace(s.faults[0], costs_attempts=False)),
    ),
    "a model asked twice in one attempt": ("I14", "asked the model 2 times", lambda s: s.calls_again(5, at=80.3)),
    "attempts that nothing explains": ("I14", "7 attempts at 4 events", update("sessions", 0, run=7)),
    "a model that works on what is not stored": (
        "I7",
        "which is not stored",
        lambda s: s.calls.append(Call("t", "e9", 7, 90.0)),
    ),
    "a refused message that is stored": (
        "rule 9",
        "was refused each time",
        lambda s: s.told(s.tab, 32).update(requestId="r2"),
    ),
    "an event that nobody sent": ("I2", "was never sent", update("events", 1, request_id="r7")),
    "a lost message stored twice": (
        "I2",
        "'r6' became 2 events",
        lambda s: s.tables["events"].extend([event(5, "r6", content="lost"), event(6, "r6", content="lost")]),
    ),
    "a receipt for what another socket sent": (
        "rule 7",
        "not sent over this socket",
        put(25, 80.0, frame("accepted", "r4", seq=4, duplicate=True)),
    ),
    "a deleted thread that is still there": ("I12", "was deleted, and has rows", update("sessions", 0, deleted=True)),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_each_breach_is_flagged_by_its_law(breach: str) -> None:
    law, phrase, change = BREACHES[breach]
    found = of(Stops(), change)
    assert [v for v in found if v.law == law and phrase in v.what], told(found)


def accepted_after_all(stops: Stops) -> None:
    """The message that was lost with its socket had reached the store."""
    stops.tables["events"].append(event(5, "r6", content="lost"))
    stops.tables["effects"].append(effect(5, 0, 5, "report_failure", code="model_failed", message="", attempt=7))
    stops.row("sessions").update(applied_seq=5, log_index=5, run=7)
    end = frame("error", "r6", cursor=5, code="model_failed", message="", retryable=False)
    stops.phone += [(83.0, user("r6", 5, content="lost")), (83.1, end)]
    stops.tab += [(84.0, opened(cursor="4", userId="ann")), (84.0, user("r6", 5, content="lost")), (84.1, end)]


def keeps_only_the_newest(stops: Stops) -> None:
    del stops.tables["timers"][0]


def given_up(stops: Stops) -> None:
    """Nobody can tell whether the first effect set generation 1, or the second did."""
    stops.row("effects", 2).update(status="failed")
    stops.row("events", 2)["payload"].update(generation=2)
    stops.tables["timers"] = [{"thread_id": "t", "timer_id": "x", "generation": 2, "status": "fired"}]


def deleted(stops: Stops) -> None:
    stops.tables = {"sessions": [stops.row("sessions") | {"deleted": True, "applied_seq": 0, "log_index": 0}]}
    stops.tables |= {"events": [], "effects": []}


def while_(kind: str, begin: float, end: float, *changes: Change) -> Change:
    return both(lambda stops: stops.faults.append(Fault(kind, begin, end)), *changes)


SLOW = at(30, 81.5), at(31, 81.5), at(32, 81.5)

KEPT: dict[str, Change] = {
    "everything": lambda stops: None,
    "a message without a receipt that was stored once": accepted_after_all,
    "a late answer to a cancel during an outage": while_("outage", 80.0, 80.6, *SLOW),
    "output long after a cancel that a stalled owner did not hear of": while_(
        "stall", 1.0, 3.3, at(8, 3.35), at(9, 3.4)
    ),
    "a cancel whose answer may be a doubt": lambda stops: stops.told(stops.tab, 30).update(code="unavailable"),
    "timers of which only the newest setting is kept": keeps_only_the_newest,
    "a timer whose setter is in doubt": given_up,
    "a thread that was deleted": deleted,
    "a refusal that tells a stranger nothing": put(
        2, 5.1, frame("error", code="too_fast", message="", retryable=True), trace="eve"
    ),
}


@pytest.mark.parametrize("history", KEPT)
def test_a_kept_history_has_no_violations(history: str) -> None:
    assert told(of(Stops(), KEPT[history])) == []


@pytest.mark.parametrize(
    "missing",
    [
        lambda s: s.calls_again(5, attempt=7, at=80.3),
        update("sessions", 0, run=7),
        both(*SLOW),
        lambda s: s.tab.__delitem__(slice(10, 12)),
    ],
)
def test_nothing_follows_from_what_an_incomplete_history_does_not_hold(missing: Change) -> None:
    stops = Stops()
    assert of(stops, missing)
    stops.complete = False
    assert told(stops.check()) == []


def test_an_unsettled_history_may_be_in_the_middle_of_everything() -> None:
    stops = Stops()
    stops.settled = False
    stops.row("sessions").update(tries=1)
    stops.row("effects", 2).update(status="pending")
    stops.tables["counts"]["t"].update(controls=1)
    assert told(stops.check()) == []


def test_an_agent_of_several_steps_asks_the_model_in_each() -> None:
    stops = Stops()
    stops.calls_again(5, at=80.3)
    assert told(violations_of(replace(stops.history(), calls_per_attempt=2))) == []


def test_a_timer_s_second_attempt_may_ask_the_model_whoever_has_spoken_meanwhile() -> None:
    stops = Stops()
    _, what, change = BREACHES["a timer that talks over its user"]
    change(stops)
    stops.row("effects", 1)["payload"].update(attempt=3)  # so its first one was the fourth
    assert not any(what in violation.what for violation in stops.check())


def test_a_history_that_the_next_request_is_refused_for_is_flagged() -> None:
    call = {"name": "look", "args": {}, "id": "c1"}
    history = Stops().history()
    for messages, found in (
        ([HumanMessage("go"), AIMessage("I will")], []),
        ([HumanMessage("go"), AIMessage("", tool_calls=[call])], ["I9"]),
    ):
        tables = replace(history.tables, model_messages={"t": messages})
        assert list({v.law for v in violations_of(replace(history, tables=tables))}) == found


def test_an_open_question_may_leave_its_call_without_a_result() -> None:
    stops = Stops()
    stops.tables["effects"].append(effect(4, 1, 5, "request_input", interrupt_id="q:4", value="?"))
    history = stops.history()
    messages = [HumanMessage("go"), AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c1"}])]
    asked = replace(history, tables=replace(history.tables, model_messages={"t": messages}))
    assert "I9" not in {violation.law for violation in violations_of(asked)}
