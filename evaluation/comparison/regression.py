"""How much worse one run's figures are than another's, and how easily noise alone gives that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.comparison.paired_difference import paired_difference
from evaluation.records import MetricRecord

BetterDirection = Literal["higher", "lower"]


@dataclass(frozen=True)
class Worsening:
    """The second less the first, turned so that more is worse; in the figures' unit.

    Attributes:
        mean: Negative: the second is better.
        low, high: Ends of its 95 % interval; None where too few videos give one.
        chance: How likely noise alone gives so much or more where nothing is worse (one-sided, Student's t);
            None without an interval.
        videos: How many stand behind it; of the smaller side where they are not paired.
    """

    mean: float
    low: float | None
    high: float | None
    chance: float | None
    videos: int


def paired_worsening(
    first: Sequence[MetricRecord], second: Sequence[MetricRecord], better: BetterDirection
) -> Worsening | None:
    """Over the videos that both have a figure of; None where there is none."""
    difference = paired_difference(first, second)
    if difference is None:
        return None
    if difference.low is None or difference.high is None:
        return Worsening(_turned(difference.mean, better), None, None, None, difference.videos)
    half = (difference.high - difference.low) / 2
    return _judged(_turned(difference.mean, better), half, difference.videos - 1, difference.videos)


def unpaired_worsening(
    first: Sequence[MetricRecord], second: Sequence[MetricRecord], better: BetterDirection
) -> Worsening | None:
    """Of the two means, each over its own videos, by Welch's t; None where a side has no figure."""
    before, after = (
        np.array([row.value for row in rows if row.value is not None]) for rows in (first, second)
    )
    if not len(before) or not len(after):
        return None
    mean, videos = _turned(float(after.mean() - before.mean()), better), min(len(before), len(after))
    if videos < 2:
        return Worsening(mean, None, None, None, videos)
    parts = [float(values.var(ddof=1)) / len(values) for values in (before, after)]
    variance = sum(parts)
    if variance == 0:
        return _judged(mean, 0.0, videos - 1, videos)
    spread = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (before, after), strict=True))
    freedom = variance**2 / spread  # Welch and Satterthwaite
    from scipy import stats  # slow to import, and forms load modules beside this one

    return _judged(mean, float(np.sqrt(variance) * stats.t.ppf(0.975, freedom)), freedom, videos)


def _judged(mean: float, half: float, freedom: int | float, videos: int) -> Worsening:
    """With the interval's half and Student's degrees of freedom."""
    from scipy import stats

    if half == 0:
        chance = 0.0 if mean > 0 else 1.0
    else:
        chance = float(stats.t.sf(mean / half * stats.t.ppf(0.975, freedom), freedom))
    return Worsening(mean, mean - half, mean + half, chance, videos)


def _turned(difference: float, better: BetterDirection) -> float:
    return difference if better == "lower" else -difference
