"""Nothing that comes over a bus is believed."""

from __future__ import annotations

import logging

import msgspec
import pytest

from unbroken.adapters import carried_hints
from unbroken.adapters.carried_hints import CarriedWakeups, Company

pytestmark = pytest.mark.asyncio

SENSELESS = (
    b"",
    b"\xff\xfe",
    b"{}",
    b"[1]",
    b'["1", [], []]',
    b'[2, ["t", 7], []]',
    b'[2, [""], []]',
    b'[2, [], ["a\\u0000b"]]',
    msgspec.json.encode((2, ["x" * 129], [])),
    b'[2, ["\\ud800"], []]',
    b"[" * 5_000,
    b'[1, ["\xff"], []]',
    b"[1, [], [], " + b"[" * 100_000,
)


def hearing() -> tuple[CarriedWakeups, list[tuple[str, bool]]]:
    wakeups, heard = CarriedWakeups(1, Company()), list[tuple[str, bool]]()
    wakeups.listen(lambda _: None, lambda thread_id, free: heard.append((thread_id, free)))
    return wakeups, heard


@pytest.mark.parametrize("payload", SENSELESS)
async def test_what_makes_no_sense_is_dropped_whole_and_counted(payload: bytes) -> None:
    wakeups, heard = hearing()
    wakeups.heard(payload)
    assert (wakeups.senseless, heard) == (1, [])
    wakeups.heard(b'[2, ["t"], ["f"]]')
    assert heard == [("t", False), ("f", True)]


async def test_it_is_told_once_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    wakeups, _ = hearing()
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            wakeups.heard(b"nonsense")
        assert len(caplog.records) == 1
        monkeypatch.setattr(carried_hints, "COMPLAINT_S", 0.0)
        wakeups.heard(b"nonsense")
    assert "51 times" in caplog.records[-1].getMessage()


async def test_ones_own_words_are_not_heard_again() -> None:
    wakeups, heard = hearing()
    wakeups.announce("t")
    wakeups.heard(wakeups.take(1_000).payload)
    assert not heard


async def test_a_message_holds_what_fits_and_the_rest_follows() -> None:
    wakeups, _ = hearing()
    names = [f"{number}-" + "𝄞\x01" * 60 for number in range(100)]
    for name in names:
        wakeups.announce(name, free=name.startswith("7"))
    told: list[str] = []
    while wakeups._waiting:
        taken = wakeups.take(2_000)
        assert len(taken.payload) <= 2_000
        assert taken.hints
        told += taken.hints
    assert told == names
    assert not wakeups._more.is_set()


async def test_what_was_not_sent_is_told_later_and_stays_free() -> None:
    wakeups, _ = hearing()
    wakeups.announce("t", free=True)
    taken = wakeups.take(1_000)
    wakeups.announce("t")
    wakeups.give_back(taken)
    assert wakeups.take(1_000).hints == {"t": True}
