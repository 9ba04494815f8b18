"""Differences between two sets of records of one metric, with 95 % confidence intervals.

Videos of one person are not independent, so with few people all intervals are too narrow.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.records import MetricRecord

BetterDirection = Literal["higher", "lower"]


@dataclass(frozen=True)
class PairedDifference:
    """Second minus first, over the videos with both values.

    Attributes:
        mean: Mean difference, in the metric's unit.
        low, high: Bounds of its 95 % interval; None with fewer than two videos.
        videos: Number of videos with both values.
    """

    mean: float
    low: float | None
    high: float | None
    videos: int

    @property
    def significant(self) -> bool:
        """Whether the interval exists and excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Regression:
    """How much worse the second set is than the first, in the metric's unit; negative: it is better.

    Attributes:
        mean: Difference of the means.
        low, high: Bounds of its 95 % interval; None with fewer than two videos.
        p_value: One-sided, of Student's or Welch's t; None without an interval.
        videos: Number of videos; of the smaller set if the videos are not paired.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    videos: int


def paired_difference(
    first: Sequence[MetricRecord], second: Sequence[MetricRecord]
) -> PairedDifference | None:
    """Mean of `second` - `first` with Student's interval, paired by video.

    Returns:
        None if no video has both values.

    Raises:
        ValueError: a video has two values in one of the sets.
    """
    differences = _differences(first, second)
    if not len(differences):
        return None
    mean = float(differences.mean())
    if len(differences) < 2:
        return PairedDifference(mean, None, None, len(differences))
    from scipy import stats  # slow to import, and the settings forms load modules of this package

    low, high, _ = _interval_and_p_value(mean, lambda: stats.ttest_1samp(differences, 0.0))
    return PairedDifference(mean, low, high, len(differences))


def paired_regression(
    first: Sequence[MetricRecord], second: Sequence[MetricRecord], better: BetterDirection
) -> Regression | None:
    """Regression paired by video, by Student's t; None if no video has both values."""
    worse = _sign(better) * _differences(first, second)
    if not len(worse):
        return None
    mean = float(worse.mean())
    if len(worse) < 2:
        return Regression(mean, None, None, None, len(worse))
    from scipy import stats

    interval = _interval_and_p_value(mean, lambda: stats.ttest_1samp(worse, 0.0))
    return Regression(mean, *interval, len(worse))


def unpaired_regression(
    first: Sequence[MetricRecord], second: Sequence[MetricRecord], better: BetterDirection
) -> Regression | None:
    """Regression between the means of different videos, by Welch's t; None if a set has no values."""
    before, after = (
        _sign(better) * np.array([record.value for record in records if record.value is not None])
        for records in (first, second)
    )
    if not len(before) or not len(after):
        return None
    mean, videos = float(after.mean() - before.mean()), min(len(before), len(after))
    if videos < 2:
        return Regression(mean, None, None, None, videos)
    from scipy import stats

    interval = _interval_and_p_value(mean, lambda: stats.ttest_ind(after, before, equal_var=False))
    return Regression(mean, *interval, videos)


def _interval_and_p_value(mean: float, t_test: Callable[[], Any]) -> tuple[float, float, float]:
    """95 % interval of the mean, and the one-sided p-value of a mean above 0."""
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy warns about values that are all equal
        result = t_test()
    if not math.isfinite(result.statistic):  # no variance: the sign of the mean decides
        return mean, mean, 0.0 if mean > 0 else 1.0
    low, high = result.confidence_interval(0.95)
    return float(low), float(high), float(stats.t.sf(result.statistic, result.df))


def _differences(first: Sequence[MetricRecord], second: Sequence[MetricRecord]) -> NDArray[np.float64]:
    """Second minus first for each video with both values, [videos]."""
    before, after = _value_by_video(first), _value_by_video(second)
    return np.array([after[video] - before[video] for video in before if video in after], np.float64)


def _value_by_video(records: Sequence[MetricRecord]) -> dict[str, float]:
    values: dict[str, float] = {}
    for record in records:
        if record.value is None:
            continue
        if record.video in values:
            raise ValueError(f"{record.metric}, {record.method}: video {record.video!r} has two values")
        values[record.video] = record.value
    return values


def _sign(better: BetterDirection) -> int:
    return 1 if better == "lower" else -1
