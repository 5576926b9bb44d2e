"""Each way in which what is told of an attempt can differ from what its agent said."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.checker.history import Call
from tests.checker.stops import DONE, HELD, YES, Change, Stops
from tests.checker.story import token


def says(number: int, **changes: object) -> Change:
    """The agent said something else in one of its calls."""

    def change(stops: Stops) -> None:
        stops.calls[number] = replace(stops.calls[number], **changes)

    return change


def both(*changes: Change) -> Change:
    def change(stops: Stops) -> None:
        for each in changes:
            each(stops)

    return change


def marked_revised(stops: Stops) -> None:
    stops.row("effects", 1)["payload"].update(revised=True)
    stops.told(stops.tab, 21).update(revised=True)


def shows_the_former_try_first(stops: Stops) -> None:
    """The third try's words stand before the fourth's, and its end says `revised`."""
    marked_revised(stops)
    stops.tab[20] = (6.2, token("r2", 4, 0, "Do" + DONE))


def begins_otherwise(stops: Stops) -> None:
    """It wrote one thing, and answered another."""
    marked_revised(stops)
    says(3, wrote=("Don't.",))(stops)
    stops.tab[20] = (6.2, token("r2", 4, 0, "Don't."))


def tried_before(wrote: str) -> Change:
    """What was stopped at its first attempt had an attempt before that one."""

    def change(stops: Stops) -> None:
        stops.calls.insert(0, Call("t", "e1", 0, 1.21, "retryable", wrote=(wrote,)))

    return change


def shows_nothing(stops: Stops) -> None:
    """Of what was stopped."""
    stops.tab = [
        (at, row) for at, row in stops.tab if row.get("frame", {}).get("attempt") != 1 or "value" not in row["frame"]
    ]


APART: dict[str, tuple[str, Change]] = {
    "a retry behind what the former try had shown": ("I6 tab#2: attempt 4 never wrote", shows_the_former_try_first),
    "words of a try that never ended": ("I6 tab#1: attempt 3 never wrote", says(2, wrote=("No",))),
    "messages in another order": ("I6 tab#1: attempt 1 never wrote", says(0, wrote=("I", " will "))),
    "an answer beyond what was written, shown otherwise": ("I6 tab#2: attempt 6 never wrote", says(5, answer="Yeah.")),
    "a stopped answer that was not written": ("I6 a stopped answer", says(0, wrote=(HELD[:-1],))),
    "a stopped answer of a former attempt, and the attempt wrote another": (
        "I6 a stopped answer",
        both(says(0, wrote=(HELD[:-1],)), tried_before(HELD)),
    ),
    "a stopped answer that no attempt had written": (
        "I6 a stopped answer",
        both(says(0, wrote=()), tried_before(HELD[:-1])),
    ),
    "an answer that the agent did not give": ("I7 attempt 6 ended in an answer", says(5, answer=None)),
    "another answer than the agent's": ("I6 attempt 4 did not answer", says(3, answer=f"{DONE} Really.")),
    "revised without a reason": ("rule 5 attempt 4 says `revised`", marked_revised),
    "revised where the answer only goes on": ("rule 5 attempt 4", both(marked_revised, says(3, wrote=("Do",)))),
}
KEPT: dict[str, Change] = {
    "an answer that begins otherwise": begins_otherwise,
    "an answer that was never streamed": says(5, wrote=(), answer=YES),
    "more written than anybody was told": says(2, wrote=("Do", "more")),
    "stopped before it took up again what is committed": both(says(0, wrote=()), tried_before(HELD), shows_nothing),
    "what nobody wrote down": says(3, wrote=None, answer=None),
}


@pytest.mark.parametrize("difference", APART)
def test_each_difference_from_what_the_agent_said_is_flagged(difference: str) -> None:
    what, change = APART[difference]
    stops = Stops()
    change(stops)
    found = [f"{violation.law} {violation.what}" for violation in stops.check()]
    assert any(line.startswith(what) for line in found), found


@pytest.mark.parametrize("story", KEPT)
def test_what_may_differ_is_not_flagged(story: str) -> None:
    stops = Stops()
    KEPT[story](stops)
    assert stops.check() == []
