"""Which conversation is asked for a kill at a point, of all that come by."""

from __future__ import annotations

from tests.crash.lanes import Passing, in_order

LONG = Passing("many", 9, 0, 900)
SHORT = Passing("nodes", 1, 0, 100)
MIDDLING = Passing("answer", 4, 0, 300)
IDLE = Passing("idle", 3, 0, 70)
DRAINING = Passing("draining", 2, 0, 50)
REFUSED = Passing("refused-breakpoint", 2, 0, 60)
RESUMING = Passing("resuming", 2, 0, 40)
BEFORE_ANY_TURN = Passing("turn", 0, 3, 10)


def test_the_shortest_one_is_asked_first_and_then_those_that_come_by_most_often() -> None:
    assert in_order([MIDDLING, SHORT, LONG]) == [SHORT, LONG, MIDDLING]


def test_one_whose_answers_can_be_judged_is_asked_before_a_shorter_one() -> None:
    assert in_order([LONG, REFUSED, SHORT]) == [SHORT, LONG, REFUSED]
    assert in_order([DRAINING, REFUSED]) == [REFUSED, DRAINING]


def test_one_that_stops_falls_or_has_trouble_by_itself_is_not_asked_before_a_smooth_one() -> None:
    assert in_order([LONG, DRAINING, RESUMING]) == [LONG, DRAINING, RESUMING]
    assert in_order([LONG, IDLE]) == [LONG, IDLE]
    assert in_order([DRAINING, RESUMING]) == [DRAINING, RESUMING], "but where nobody else comes by"


def test_one_that_comes_by_before_any_turn_is_not_asked_before_one_that_does_so_in_a_turn() -> None:
    assert in_order([BEFORE_ANY_TURN, LONG, SHORT]) == [SHORT, LONG, BEFORE_ANY_TURN]
    assert in_order([BEFORE_ANY_TURN, DRAINING]) == [DRAINING, BEFORE_ANY_TURN]
    assert in_order([BEFORE_ANY_TURN]) == [BEFORE_ANY_TURN]
