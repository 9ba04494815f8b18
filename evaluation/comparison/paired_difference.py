"""Two columns of figures compared video by video."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.records import MetricRecord


@dataclass(frozen=True)
class PairedDifference:
    """Second minus first, over the videos that have both figures.

    Attributes:
        mean: Mean difference, in the figures' unit.
        low, high: Ends of its 95 % interval; None with fewer than two videos.
        videos: How many have both.
    """

    mean: float
    low: float | None
    high: float | None
    videos: int

    @property
    def clear(self) -> bool:
        """Whether the interval is there and leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def paired_difference(
    first: Sequence[MetricRecord], second: Sequence[MetricRecord]
) -> PairedDifference | None:
    """Student's interval of the mean of `second` − `first` over the videos common to both.

    Videos of one person are not independent, so on few people the interval is too narrow.

    Returns:
        None where no video has both.

    Raises:
        ValueError: a video stands twice on one side.
    """
    before, after = _by_video(first), _by_video(second)
    common = [video for video in before if video in after]
    if not common:
        return None
    differences = np.array([after[video] - before[video] for video in common])
    mean = float(differences.mean())
    if len(common) < 2:
        return PairedDifference(mean, None, None, len(common))
    from scipy import stats  # slow to import, and forms load modules beside this one

    half = float(stats.sem(differences) * stats.t.ppf(0.975, len(common) - 1))
    return PairedDifference(mean, mean - half, mean + half, len(common))


def _by_video(rows: Sequence[MetricRecord]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for row in rows:
        if row.value is None:
            continue
        if row.video in figures:
            raise ValueError(f"{row.metric}, {row.method}: video {row.video!r} has two figures")
        figures[row.video] = row.value
    return figures
