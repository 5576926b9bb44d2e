"""What is said is shown while it is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.checker.check import violations_of
from tests.checker.history import History
from tests.checker.stops import Stops

Change = Callable[[History], History]


def slowly(history: History) -> History:
    """Event 4's answer of four units is written over a second, and shown only at its end."""
    calls = list(history.calls)
    calls[5] = replace(calls[5], at=79.2, until=80.35, wrote=("Yes.",), pace=((79.3, 2), (80.25, 4)))
    return replace(history, calls=calls, replicas=1, faults=())


def told_at_once(history: History) -> History:
    """What was written is in the socket's trace in time."""
    history = slowly(history)
    sockets = list(history.sockets)
    for index, socket in enumerate(sockets):
        lines = tuple(
            replace(line, at=79.4) if line.frame.get("attempt") == 6 and line.frame["type"] == "token" else line
            for line in socket.lines
        )
        sockets[index] = replace(socket, lines=lines)
    return replace(history, sockets=[socket for socket in sockets if socket.view != "phone"])


def half_a_character(history: History) -> History:
    """The second message has begun with one half of a character, which is shown to nobody, nor what separates it."""
    history = told_at_once(history)
    calls, sockets = list(history.calls), list(history.sockets)
    calls[5] = replace(calls[5], wrote=("Y", "\ufffd"), pace=((79.3, 1), (79.35, 4), (80.25, 4)))
    for index, socket in enumerate(sockets):
        lines = tuple(
            replace(line, frame={**line.frame, "value": "Y"})
            if line.frame.get("attempt") == 6 and line.frame["type"] == "token"
            else line
            for line in socket.lines
        )
        sockets[index] = replace(socket, lines=lines)
    return replace(history, calls=calls, sockets=sockets)


def ended_for_its_clients(history: History) -> History:
    """They were told its end while the agent wrote on."""
    history = slowly(history)
    sockets = [
        replace(
            socket,
            lines=tuple(
                replace(line, at=79.5) if line.frame.get("attempt") == 6 and line.frame["type"] == "final" else line
                for line in socket.lines
            ),
        )
        for socket in history.sockets
    ]
    return replace(history, sockets=sockets)


KEPT: dict[str, Change] = {
    "in time": told_at_once,
    "several processes": lambda history: replace(slowly(history), replicas=2),
    "nobody counted them": lambda history: replace(slowly(history), replicas=None),
    "a fault": lambda history: replace(slowly(history), faults=[_outage()]),
    "half a character": half_a_character,
    "its end was told": ended_for_its_clients,
    "the end came first": lambda history: _ended(slowly(history)),
}


def _outage() -> object:
    return replace(Stops().faults[0], at=79.0, until=81.0)


def _ended(history: History) -> History:
    calls = list(history.calls)
    calls[5] = replace(calls[5], until=79.7)
    return replace(history, calls=calls)


def late(history: History) -> list[str]:
    return [violation.what for violation in violations_of(history) if violation.law == "rule 4"]


def test_text_that_is_held_back_until_the_end_is_flagged_for_each_reader() -> None:
    found = late(slowly(Stops().history()))
    assert [what.partition(":")[0] for what in found] == ["tab#2", "phone#1"]
    assert all("2 units of attempt 6 were said by 79.300, and 0 shown by 79.8" in what for what in found)


@pytest.mark.parametrize("story", KEPT)
def test_what_is_shown_in_time_or_promised_to_nobody_is_not_flagged(story: str) -> None:
    assert late(KEPT[story](Stops().history())) == []
