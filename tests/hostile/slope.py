"""Whether something grows: a straight line through samples, and how sure one can be of its slope.

Ordinary least squares with a 95 % interval by Student's t. Memory samples resemble their neighbours, which the
interval's formula does not know and would be too sure about; so consecutive samples are first averaged into blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import fsum, inf, sqrt
from statistics import NormalDist, fmean
from typing import Final

from msgspec import Struct

BLOCKS: Final = 30
CONFIDENCE: Final = 0.95
Sample = tuple[float, float]
"""Where (frames, seconds), and how much."""


class Slope(Struct, frozen=True):
    """Per unit of x; between `low` and `high` with 95 % confidence."""

    value: float
    low: float
    high: float
    blocks: int

    @property
    def flat(self) -> bool:
        """The interval holds zero."""
        return self.low <= 0.0 <= self.high


def slope(samples: Sequence[Sample], *, warm_up: float = 0.1, blocks: int = BLOCKS) -> Slope:
    """Of the samples after the first `warm_up` share of them. Fewer than three blocks say nothing: any slope may be."""
    kept = samples[int(len(samples) * warm_up) :]
    means = _averaged(kept, min(blocks, len(kept)))
    if len(means) < 3:
        return Slope(0.0, -inf, inf, len(means))
    return _least_squares(means)


def _averaged(samples: Sequence[Sample], blocks: int) -> list[Sample]:
    bounds = [len(samples) * block // blocks for block in range(blocks + 1)] if blocks else [0]
    cut = [samples[low:high] for low, high in pairwise(bounds)]
    return [(fmean(x for x, _ in block), fmean(y for _, y in block)) for block in cut]


def _least_squares(points: Sequence[Sample]) -> Slope:
    x_mean, y_mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    if not spread:
        return Slope(0.0, -inf, inf, len(points))
    value = sum((x - x_mean) * (y - y_mean) for x, y in points) / spread
    freedom = len(points) - 2
    errors = sum((y - y_mean - value * (x - x_mean)) ** 2 for x, y in points)
    margin = _student(freedom) * sqrt(errors / freedom / spread)
    return Slope(value, value - margin, value + margin, len(points))


def _student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t (Cornish-Fisher; within 0.5 % from 4 degrees of freedom on)."""
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    terms: tuple[float, ...] = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return fsum(term / float(freedom) ** power for power, term in enumerate(terms))
