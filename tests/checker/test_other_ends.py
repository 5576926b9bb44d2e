"""Cancelled turns, questions and replaced messages: a history that kept every promise, and how each can be broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.checker.check import violations
from tests.checker.history import Line, Tables, Violation, sockets_of
from tests.checker.story import Row, effect, event, final, find, frame, opened, reset, sent, token, user

STOPPED = "Once upon a"


class Ends:
    """r1 is cancelled in the middle; r2 takes its place and asks two questions; r3 answers one of them; r4 is a
    message, which supersedes the other; r5 is rolled back."""

    def __init__(self) -> None:
        self.trace: list[Row] = [
            opened(cursor="0"),
            sent("message", requestId="r1", content="tell"),
            frame("accepted", "r1", seq=1, duplicate=False),
            user("r1", 1, content="tell"),
            reset("r1", 1),
            token("r1", 1, 0, "Once upon "),
            token("r1", 1, 10, "a"),
            sent("cancel", requestId="r1"),
            frame("cancelling", "r1"),
            frame("cancelled", "r1", cursor=1, message=STOPPED),
            sent("message", requestId="r2", content="ask", replaces="r1"),
            frame("accepted", "r2", seq=2, duplicate=False),
            user("r2", 2, content="ask", replaces="r1"),
            reset("r2", 2),
            final("r2", 2, 2, "", waiting=True),
            frame("question", "r2", cursor=3, interruptId="a:2", value="a?"),
            frame("question", "r2", cursor=4, interruptId="b:2", value="b?"),
            sent("respond", requestId="r3", interruptId="a:2", value=1),
            frame("accepted", "r3", seq=3, duplicate=False),
            user("r3", 3, interruptId="a:2", value=1),
            reset("r3", 3),
            frame("answered", cursor=5, interruptId="a:2", outcome="answered"),
            final("r3", 6, 3, "", waiting=True),
            sent("message", requestId="r4", content="stop asking"),
            frame("accepted", "r4", seq=4, duplicate=False),
            user("r4", 4, content="stop asking"),
            reset("r4", 4),
            frame("answered", cursor=7, interruptId="b:2", outcome="superseded"),
            final("r4", 8, 4, ""),
            sent("message", requestId="r5", content="forget me"),
            frame("accepted", "r5", seq=5, duplicate=False),
            user("r5", 5, content="forget me"),
            reset("r5", 5),
            token("r5", 5, 0, "I will"),
            frame("cancelled", "r5", cursor=9, message=""),
        ]
        session = {"thread_id": "t", "user_id": "ann", "agent_id": "demo", "owner": 1, "epoch": 2}
        self.tables: dict[str, Any] = {
            "sessions": [session | {"applied_seq": 5, "log_index": 9, "run": 5, "head_event": 4, "log_floor": 0}],
            "events": [
                event(1, "r1", content="tell"),
                event(2, "r2", content="ask", replaces="r1"),
                event(3, "r3", "input_response", interrupt_id="a:2", value=1),
                event(4, "r4", content="stop asking"),
                event(5, "r5", content="forget me"),
            ],
            "effects": [
                effect(1, 0, 1, "cancel_turn", text=STOPPED, attempt=1),
                effect(2, 0, 2, "send_message", text="", attempt=2, waiting=True),
                effect(2, 1, 3, "request_input", interrupt_id="a:2", value="a?"),
                effect(2, 2, 4, "request_input", interrupt_id="b:2", value="b?"),
                effect(3, 0, 5, "close_question", interrupt_id="a:2", outcome="answered"),
                effect(3, 1, 6, "send_message", text="", attempt=3, waiting=True),
                effect(4, 0, 7, "close_question", interrupt_id="b:2", outcome="superseded"),
                effect(4, 1, 8, "send_message", text="", attempt=4, waiting=False),
                effect(5, 0, 9, "cancel_turn", text="", attempt=5),
            ],
            "state_messages": {"t": ["e2", "m2", "e4", "m4"]},
        }

    @property
    def effects(self) -> list[Row]:
        rows: list[Row] = self.tables["effects"]
        return rows

    @property
    def state(self) -> list[str]:
        ids: list[str] = self.tables["state_messages"]["t"]
        return ids

    def check(self) -> list[Violation]:
        lines = [msgspec.convert(row | {"at": float(at)}, Line) for at, row in enumerate(self.trace)]
        return violations(sockets_of("tab", lines), Tables.of(self.tables), watched_to_the_end=("tab",))


def test_a_history_that_kept_every_promise_is_not_flagged() -> None:
    assert [f"{found.law} {found.what}" for found in Ends().check()] == []


def swap_first_two(ends: Ends) -> None:
    """The end of event 3 before the question that it closed."""
    ends.effects[4]["log_index"], ends.effects[5]["log_index"] = 6, 5
    ends.effects[4]["ordinal"], ends.effects[5]["ordinal"] = 1, 0


def closed_again(ends: Ends) -> None:
    ends.effects[6]["payload"]["interrupt_id"] = "a:2"


def keeps_less(ends: Ends) -> None:
    ends.effects[0]["payload"].update(text="Once")
    find(ends.trace, "cancelled", cursor=1).update(message="Once")


BREACHES: dict[str, tuple[str, str, Callable[[Ends], None]]] = {
    "a cancelled turn that shows another text": (
        "I7",
        "is not what is stored",
        lambda ends: find(ends.trace, "cancelled", cursor=1).update(message="Twice"),
    ),
    "a cancelled turn that keeps less than was shown": (
        "I6",
        "more was shown",
        keeps_less,
    ),
    "text after a cancel's end": (
        "rule 4",
        "after its end",
        lambda ends: ends.trace.insert(10, token("r1", 1, 11, " time")),
    ),
    "a question closed twice": ("rule 8", "which is not open", closed_again),
    "a question closed behind the end": ("rule 5", "come before the end", swap_first_two),
    "a question asked by nobody who waits": (
        "rule 5",
        "waiting is False",
        lambda ends: ends.effects[1]["payload"].update(waiting=False),
    ),
    "waiting while nothing is open": (
        "rule 5",
        "waiting is True, with 0",
        lambda ends: ends.effects[7]["payload"].update(waiting=True),
    ),
    "a closing frame for another question": (
        "I7",
        "interrupt_id is",
        lambda ends: find(ends.trace, "answered", cursor=5).update(interruptId="b:2"),
    ),
    "a replaced message still in the state": ("I4", "another one stands", lambda ends: ends.state.insert(0, "e1")),
    "the message in its place lost": ("I4", "event 2 0 times", lambda ends: ends.state.remove("e2")),
    "a message stored as replacing nothing": (
        "I2",
        "nobody sent",
        lambda ends: ends.tables["events"][1]["payload"].pop("replaces"),
    ),
    "an event ended by a cancel and by an answer": (
        "I1",
        "has 2 visible ends",
        lambda ends: ends.effects[4].update(type="cancel_turn"),
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_each_breach_is_flagged_by_its_law(breach: str) -> None:
    law, phrase, change = BREACHES[breach]
    ends = Ends()
    change(ends)
    found = ends.check()
    assert [v for v in found if v.law == law and phrase in v.what], [f"{v.law} {v.what}" for v in found]
