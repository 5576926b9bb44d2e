"""CI's share of the storms, and that they can be believed: the same seed is the same storm."""

from __future__ import annotations

import pytest

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
