"""What a report derives from its records, once: means, and comparisons of the model with the baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from evaluation.comparison.differences import PairedDifference, paired_difference
from evaluation.records import BASELINES, COPY_TARGET, MODEL, MetricRecord, RecordKey, Summary, summarise

SELF_TASK: Final = "self"
Mark = Literal["beats the model", "ahead, not significant", "upper bound", ""]
BEATS: Final = "beats the model"
AHEAD: Final = "ahead, not significant"
UPPER_BOUND: Final = "upper bound"


@dataclass(frozen=True)
class BaselineComparison:
    """The model compared with a baseline method on one metric.

    Attributes:
        advantage: How much better the model is, in the metric's unit; negative if the baseline is better.
            Over the videos with values of both, so that a model that was measured on its easiest videos only
            does not win; the difference of the means if there are no such videos.
        difference: Model - baseline, by video; None if no video has values of both.
    """

    model: Summary
    baseline: Summary
    advantage: float
    difference: PairedDifference | None

    @property
    def model_ahead(self) -> bool:
        """Whether the model is better."""
        return self.advantage > 0

    @property
    def baseline_ahead(self) -> bool:
        """Whether the baseline is better."""
        return self.advantage < 0

    @property
    def significant(self) -> bool:
        """Whether the 95 % interval of the paired difference excludes 0."""
        return self.difference is not None and self.difference.significant

    @property
    def is_upper_bound(self) -> bool:
        """Whether the baseline is the ground truth: the copied target in self-reenactment."""
        return self.baseline.key.task == SELF_TASK and self.baseline.key.method == COPY_TARGET

    @property
    def mark(self) -> Mark:
        """Mark of the baseline's table cell; empty unless the baseline is ahead."""
        if not self.baseline_ahead:
            return ""
        if self.is_upper_bound:
            return UPPER_BOUND
        return BEATS if self.significant else AHEAD


@dataclass(frozen=True)
class Results:
    """Records with their means and comparisons.

    Attributes:
        records: In the report's order.
        summaries: Key -> mean, in the order of the records.
        comparisons: Key of the baseline -> comparison of the model with it, in the order of the model's keys.
    """

    records: tuple[MetricRecord, ...]
    summaries: Mapping[RecordKey, Summary]
    comparisons: Mapping[RecordKey, BaselineComparison]

    def select(self, records: Sequence[MetricRecord]) -> "Results":
        """The part of the results with the keys of some of its records."""
        keys = {record.key for record in records}
        return Results(
            tuple(record for record in self.records if record.key in keys),
            {key: summary for key, summary in self.summaries.items() if key in keys},
            {key: comparison for key, comparison in self.comparisons.items() if key in keys},
        )


def derive_results(records: Sequence[MetricRecord]) -> Results:
    """Derive means and comparisons from all records.

    Raises:
        ValueError: records of one key differ in unit or direction, or a video has two values.
    """
    summaries = {summary.key: summary for summary in summarise(records)}
    return Results(tuple(records), summaries, _compare(records, summaries))


def _compare(
    records: Sequence[MetricRecord], summaries: Mapping[RecordKey, Summary]
) -> dict[RecordKey, BaselineComparison]:
    """Compare the model with every baseline that has the same metric, task and scorer.

    Metrics without a better direction are left out.
    """
    by_key: dict[RecordKey, list[MetricRecord]] = {}
    for record in records:
        by_key.setdefault(record.key, []).append(record)
    comparisons: dict[RecordKey, BaselineComparison] = {}
    for key, model in summaries.items():
        if key.method != MODEL or model.mean is None or model.direction == "neither":
            continue
        for method in BASELINES:
            baseline_key = RecordKey(key.metric, key.task, method, key.scorer)
            baseline = summaries.get(baseline_key)
            if baseline is None or baseline.mean is None:
                continue
            difference = paired_difference(by_key[baseline_key], by_key[key])
            higher = model.mean - baseline.mean if difference is None else difference.mean
            advantage = higher if model.direction == "higher" else -higher
            comparisons[baseline_key] = BaselineComparison(model, baseline, advantage, difference)
    return comparisons
