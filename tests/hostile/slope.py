"""Whether something grows: the slopes of the parts of a run, and how sure one can be of their mean.

Memory resembles what it was a moment ago: a step that it has once taken stays. A straight line through all samples with
the textbook's interval takes each of them for a new witness, and is far too sure: of random walks that lead nowhere it
calls three in four a growth, even over means of thirty blocks. So a run is cut into eight parts, each gets a line of
its own by least squares, and the interval is Student's t over their slopes (Ibragimov and Müller, "t-statistic based
correlation and heterogeneity robust inference", 2010). That asks only that one part's slope says little about the next
one's, which holds where samples resemble their neighbours for less than a part, and for random walks. A leak shows the
same slope in every part.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import fsum, inf, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Final

from msgspec import Struct

PARTS: Final = 8
FEWEST: Final = 3
"""Samples of a part."""
CONFIDENCE: Final = 0.95
Sample = tuple[float, float]
"""Where (frames, seconds), and how much."""


class Slope(Struct, frozen=True):
    """Per unit of x; between `low` and `high` with 95 % confidence."""

    value: float
    low: float
    high: float

    @property
    def flat(self) -> bool:
        """The interval holds zero."""
        return self.low <= 0.0 <= self.high


def slope(samples: Sequence[Sample], *, warm_up: float = 0.1) -> Slope:
    """Of the samples after the first `warm_up` share of them. Too few of them say nothing: any slope may be."""
    kept = samples[int(len(samples) * warm_up) :]
    if len(kept) < PARTS * FEWEST:
        return Slope(0.0, -inf, inf)
    bounds = [len(kept) * part // PARTS for part in range(PARTS + 1)]
    slopes = [_least_squares(kept[low:high]) for low, high in pairwise(bounds)]
    value = fmean(slopes)
    margin = _student(PARTS - 1) * stdev(slopes) / sqrt(PARTS)
    return Slope(value, value - margin, value + margin)


def _least_squares(points: Sequence[Sample]) -> float:
    x_mean, y_mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    return fsum((x - x_mean) * (y - y_mean) for x, y in points) / fsum((x - x_mean) ** 2 for x, _ in points)


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
