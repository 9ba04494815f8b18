"""The model against the baselines, metric by metric: a metric on which a baseline is ahead must be seen."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.comparison.differences import PairedDifference, paired_difference
from evaluation.records import BASELINES, COPY_TARGET, MODEL, MetricRecord, RecordKey, Summary, summarise

SELF = "self"


@dataclass(frozen=True)
class Contest:
    """The model against one baseline on one metric.

    Attributes:
        advantage: How much better the model is, in the metric's unit; negative: the baseline is. Over the
            videos that both have figures of: a model that was measured on its easiest videos alone must not
            win by that. Of the two means where there are no such videos.
        difference: Model − baseline by video; None where no video has both.
    """

    model: Summary
    baseline: Summary
    advantage: float
    difference: PairedDifference | None

    @property
    def model_ahead(self) -> bool:
        """The model is the better one."""
        return self.advantage > 0

    @property
    def baseline_ahead(self) -> bool:
        """The baseline is the better one."""
        return self.advantage < 0

    @property
    def clear(self) -> bool:
        """The 95 % interval of the paired difference leaves out 0."""
        return self.difference is not None and self.difference.significant

    @property
    def against_the_truth(self) -> bool:
        """In self-reenactment the copied target is the truth itself: the mark to reach, not to beat."""
        key = self.baseline.key
        return key.task == SELF and key.method == COPY_TARGET


def find_contests(rows: Sequence[MetricRecord]) -> list[Contest]:
    """Every pair of model and baseline with figures of one metric, task and scorer, in the rows' order.

    Metrics without a better direction are no contest.
    """
    by_key: dict[RecordKey, list[MetricRecord]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    summaries = {summary.key: summary for summary in summarise(rows)}
    contests: list[Contest] = []
    for key, model in summaries.items():
        if key.method != MODEL or model.mean is None or model.direction == "neither":
            continue
        for name in BASELINES:
            rival = RecordKey(key.metric, key.task, name, key.scorer)
            baseline = summaries.get(rival)
            if baseline is None or baseline.mean is None:
                continue
            difference = paired_difference(by_key[rival], by_key[key])
            higher = model.mean - baseline.mean if difference is None else difference.mean
            advantage = higher if model.direction == "higher" else -higher
            contests.append(Contest(model, baseline, advantage, difference))
    return contests
