"""Gate: closing is one synchronous step, and final."""

from __future__ import annotations

import pytest

from unbroken.domain.errors import Fenced
from unbroken.domain.turn import Gate


def test_an_open_gate_lets_everything_pass() -> None:
    gate = Gate()
    gate.check()
    assert (gate.open, gate.reason) == (True, None)


def test_a_closed_gate_fences_and_says_why() -> None:
    gate = Gate()
    gate.close("cancelled")
    assert not gate.open
    with pytest.raises(Fenced, match="cancelled"):
        gate.check()


def test_the_first_reason_stands_and_everyone_is_told_once() -> None:
    gate, told = Gate(), list[str]()
    gate.on_close(lambda: told.append("a"))
    gate.on_close(lambda: told.append("b"))
    gate.close("time limit")
    gate.close("finished")
    assert (gate.reason, told) == ("time limit", ["a", "b"])


def test_whoever_asks_after_the_gate_has_closed_is_told_at_once() -> None:
    gate, told = Gate(), list[str]()
    gate.close("fenced")
    gate.on_close(lambda: told.append("late"))
    assert told == ["late"]


def test_the_gate_is_closed_before_anyone_is_told() -> None:
    gate, seen = Gate(), list[bool]()
    gate.on_close(lambda: seen.append(gate.open))
    gate.close("finished")
    assert seen == [False]


def test_closing_from_within_a_call_back_changes_nothing() -> None:
    gate, told = Gate(), list[str]()
    gate.on_close(lambda: gate.close("again"))
    gate.on_close(lambda: told.append("b"))
    gate.close("finished")
    assert (gate.reason, told) == ("finished", ["b"])
