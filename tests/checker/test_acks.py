"""What may be acknowledged of a log, and by whom."""

from __future__ import annotations

import pytest

from tests.checker.stops import Change, Stops
from tests.checker.story import Row, frame, opened, sent

AHEAD = frame("error", code="ack_ahead", message="", retryable=False, path="cursor")


def acked(number: int | None, *, complete: bool = True) -> Change:
    def change(stops: Stops) -> None:
        stops.row("sessions").update(acked=number)
        stops.complete = complete

    return change


def told(*rows: Row, number: int | None = 3) -> Change:
    """One more client, told of nothing but these."""

    def change(stops: Stops) -> None:
        stops.row("sessions").update(acked=number)
        stops.phone += [(90.0, opened(cursor="4", userId="ann")), *((91.0, row) for row in rows)]

    return change


BREACHES: dict[str, tuple[str, Change]] = {
    "sent is taken for acknowledged": ("rule 9 4 is acknowledged of a log up to 4, and by clients only 3", acked(4)),
    "a cursor that was never handed out": ("rule 9 9 is acknowledged of a log up to 4", acked(9, complete=False)),
    "that, by a client's word": ("rule 9 9 is acknowledged", told(sent("ack", cursor=9), AHEAD, number=9)),
    "refused without a reason": ("rule 9 phone#2: refused as ahead", told(sent("ack", cursor=4), AHEAD, number=4)),
}
KEPT: dict[str, Change] = {
    "fewer than clients acknowledged": acked(1),
    "nobody looked": acked(None),
    "others may have acknowledged": acked(4, complete=False),
    "by a cursor": told(number=4),
    "refused because it was ahead": told(sent("ack", cursor=9), AHEAD, number=4),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_what_no_client_acknowledged_is_flagged(breach: str) -> None:
    what, change = BREACHES[breach]
    stops = Stops()
    change(stops)
    found = [f"{violation.law} {violation.what}" for violation in stops.check()]
    assert any(line.startswith(what) for line in found), found


@pytest.mark.parametrize("story", KEPT)
def test_what_may_be_is_not_flagged(story: str) -> None:
    stops = Stops()
    KEPT[story](stops)
    assert stops.check() == []
