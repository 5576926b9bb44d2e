"""CI's share of the storms, and that they can be believed: the same seed is the same storm."""

from __future__ import annotations

import pytest

from tests.hostile.slope import slope
from tests.hostile.storm import storm


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_storm_of_hostile_frames_is_answered_by_the_protocol_and_leaves_nothing(seed: int) -> None:
    tally = storm(seed, 2_000)
    assert tally.frames > 1_900
    assert tally.answers > 20
    assert len(tally.refusals) > 8


def test_the_same_seed_is_the_same_storm() -> None:
    assert storm(3, 1_000) == storm(3, 1_000)
    assert storm(3, 1_000) != storm(4, 1_000)


def test_a_growth_is_told_from_noise_and_noise_is_no_growth() -> None:
    noise = [(float(x), 100.0 + (x * 7919 % 13)) for x in range(1_000)]
    assert slope(noise).flat
    grown = slope([(x, y + x / 50) for x, y in noise])
    assert not grown.flat
    assert grown.low < 0.02 < grown.high


def test_too_few_samples_say_nothing() -> None:
    few = slope([(1.0, 5.0), (2.0, 9.0)], warm_up=0.0)
    assert (few.low, few.high, few.flat) == (float("-inf"), float("inf"), True)
