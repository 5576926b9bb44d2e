"""That the measure of growth can be believed: it sees what is held, and finds a leak, but none where memory wanders."""

from __future__ import annotations

from random import Random

import pytest

from tests.hostile.in_use import measured
from tests.hostile.slope import Sample, slope

SERIES = 60
STORMS = 1_000
FRAMES = 10_000
"""Of a storm: as many lie between two samples."""
WANDERS = 100_000.0
"""Bytes by which the memory of a process differs from one sample to the next (measured: less)."""


def wandering(seed: int, keeps: float, *, leak: float = 0.0) -> list[Sample]:
    """Samples of which each keeps this share of what the one before was off by. `leak`: bytes a frame."""
    random = Random(seed)
    off, samples = 0.0, []
    for storm in range(STORMS):
        off = keeps * off + random.gauss(0.0, WANDERS)
        frames = float(storm * FRAMES)
        samples.append((frames, 100e6 + off + leak * frames))
    return samples


@pytest.mark.parametrize("keeps", [0.0, 0.5, 0.9, 0.97, 0.99, 1.0])
def test_what_merely_wanders_is_called_flat_nineteen_times_in_twenty(keeps: float) -> None:
    flat = sum(slope(wandering(seed, keeps)).flat for seed in range(SERIES))
    assert flat / SERIES >= 0.9  # chance decides about a few of sixty series


@pytest.mark.parametrize("keeps", [0.0, 0.5, 0.9, 0.97])
def test_a_leak_of_one_byte_a_frame_is_found(keeps: float) -> None:
    found = [slope(wandering(seed, keeps, leak=1.0)) for seed in range(SERIES)]
    assert sum(one.low > 0.0 for one in found) / SERIES >= 0.99
    assert sum(one.low <= 1.0 <= one.high for one in found) / SERIES >= 0.9


def test_a_leak_that_shows_only_in_steps_is_found() -> None:
    """Memory comes from the system a mebibyte at a time: a leak fills one up, and then takes the next."""
    steps = [(frames, size - size % (1 << 20)) for frames, size in wandering(1, 0.5, leak=1.0)]
    assert slope(steps).low > 0.0
    assert not slope(steps).flat


def test_what_grows_only_at_the_beginning_has_no_slope_afterwards() -> None:
    loads = [(float(x), min(x, 30) * 1e6 + y) for x, (_, y) in enumerate(wandering(1, 0.5))]
    assert slope(loads).flat
    assert not slope([(x, x * 1e6 + y) for x, y in loads]).flat


def test_too_few_samples_say_nothing() -> None:
    few = slope([(float(x), 5.0 * x) for x in range(23)], warm_up=0.0)
    assert (few.low, few.high, few.flat) == (float("-inf"), float("inf"), True)


def test_what_is_held_is_seen_small_or_large_and_not_seen_any_more_when_it_is_let_go() -> None:
    before = measured()
    small, large = [f"{number} of many" for number in range(50_000)], bytearray(50_000_000)
    held = measured()
    assert held.blocks - before.blocks > 49_000
    assert before.c_bytes == 0 or held.c_bytes - before.c_bytes > 49_000_000  # 0: not glibc
    del small, large
    after = measured()
    assert after.blocks - before.blocks < 1_000
    assert after.c_bytes - before.c_bytes < 1_000_000
