"""Regressions of a run against the current baseline run.

A metric of the model is a regression if all three hold:

- its mean is worse by more than `tolerance`, relative to the magnitude of the baseline run's mean;
- the 95 % interval of the difference is entirely on the worse side: paired by video if both runs were
  evaluated on the same videos, else Welch's interval of the two means;
- it is significant after the Benjamini-Hochberg correction at a false discovery rate of 5 %. Of fifty metrics
  one or two leave their interval by chance: with the values of two evaluated runs swapped at random by video,
  the first two rules found a regression in 42 of 100 trials, all three rules in none.

Sensitivity on the same runs (24 videos, 6 a task): all following errors 25 % larger were detected in 75 of
100 trials, 50 % larger in all; a single metric 50 % larger in 54. More videos or fewer `metrics` detect more.

Metrics without an interval (one value for all videos) or without a better direction are not tested. Cells of
the control matrix are left out, as in `evaluation.comparison.compare`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from upath import UPath

from evaluation.comparison.baseline_runs import BaselineRun, current_baseline_run, read_baseline_run
from evaluation.comparison.baseline_settings import BaselineSettings
from evaluation.comparison.compare import find_obstacles
from evaluation.comparison.differences import Regression, paired_regression, unpaired_regression
from evaluation.comparison.evaluated_run import EvaluatedRun, read_evaluated_run
from evaluation.records import MODEL, MetricRecord, RecordKey, Summary, summarise
from evaluation.report.matrix import is_matrix_cell

FALSE_DISCOVERY_RATE: Final = 0.05


@dataclass(frozen=True)
class MetricCheck:
    """A metric of the model in both runs; `failed`: it is a regression by all three rules."""

    key: RecordKey
    baseline: Summary
    new: Summary
    regression: Regression
    failed: bool = False

    @property
    def tested(self) -> bool:
        """Whether the metric has an interval, and so can fail."""
        return self.regression.p_value is not None


@dataclass(frozen=True)
class RegressionCheck:
    """A run compared with the baseline run.

    Attributes:
        run: Name of the new run.
        baseline: None if no baseline run is set.
        unpaired_because: Why the videos differ; empty if metrics are paired by video.
        metrics: Metrics of both runs.
        missing: Metrics that the new run does not have, or has in another unit, as text.
    """

    run: str
    baseline: BaselineRun | None
    unpaired_because: tuple[str, ...] = ()
    metrics: tuple[MetricCheck, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[MetricCheck, ...]:
        """Failed metrics, most significant first."""
        return tuple(sorted((metric for metric in self.metrics if metric.failed), key=_p_value))

    @property
    def tested(self) -> int:
        """Number of metrics with an interval."""
        return sum(metric.tested for metric in self.metrics)

    @property
    def passed(self) -> bool:
        """At least one metric was tested and none failed, or no baseline run is set."""
        return self.baseline is None or (self.tested > 0 and not self.regressions)


def compare_with_baseline(root: UPath, run: str, settings: BaselineSettings) -> RegressionCheck:
    """Compare a run's current report with the current baseline run.

    Raises:
        ValueError: the run has no report, or neither run has a metric named in the settings.
    """
    new, baseline = read_evaluated_run(root, run), current_baseline_run(root)
    if baseline is None:
        return RegressionCheck(run, None)
    check = check_regressions(read_baseline_run(root, baseline), new, settings)
    return replace(check, baseline=baseline)


def check_regressions(
    baseline: EvaluatedRun, new: EvaluatedRun, settings: BaselineSettings
) -> RegressionCheck:
    """`compare_with_baseline` of two runs that were already read; `baseline` of the result is None."""
    _check_metric_names(settings, baseline, new)
    obstacles = find_obstacles(baseline.plan, new.plan)
    before, after = (_selected_records(run.records, settings.names) for run in (baseline, new))
    old, now = (
        {summary.key: summary for summary in summarise(records) if summary.videos}
        for records in (before, after)
    )
    before_by_key, after_by_key = _by_key(before), _by_key(after)
    metrics: list[MetricCheck] = []
    missing: list[str] = []
    for key, summary in old.items():
        if key not in now:
            missing.append(metric_name(key))
        elif (summary.unit, summary.direction) != (now[key].unit, now[key].direction):
            kind = f"{summary.unit or 'no unit'}, {summary.direction} is better"
            missing.append(f"{metric_name(key)} (baseline run: {kind})")
        elif regression := _regression(before_by_key[key], after_by_key[key], paired=not obstacles):
            metrics.append(MetricCheck(key, summary, now[key], regression))
    return RegressionCheck(
        new.run, None, obstacles, _mark_failed(metrics, settings.tolerance), tuple(missing)
    )


def metric_name(key: RecordKey) -> str:
    """Metric, task and scorer as text."""
    return f"{key.metric} ({key.task}, {key.scorer})"


def _check_metric_names(settings: BaselineSettings, *runs: EvaluatedRun) -> None:
    known = {record.metric for run in runs for record in _selected_records(run.records)}
    if unknown := [name for name in settings.names if name not in known]:
        raise ValueError(f"unknown metrics {', '.join(unknown)}; the runs have {', '.join(sorted(known))}")


def _selected_records(records: Sequence[MetricRecord], metrics: Sequence[str] = ()) -> list[MetricRecord]:
    return [
        record
        for record in records
        if record.method == MODEL
        and not is_matrix_cell(record)
        and record.direction != "neither"
        and (not metrics or record.metric in metrics)
    ]


def _by_key(records: Sequence[MetricRecord]) -> dict[RecordKey, list[MetricRecord]]:
    groups: dict[RecordKey, list[MetricRecord]] = {}
    for record in records:
        groups.setdefault(record.key, []).append(record)
    return groups


def _regression(
    first: Sequence[MetricRecord], second: Sequence[MetricRecord], *, paired: bool
) -> Regression | None:
    better = first[0].direction
    assert better != "neither"
    return (paired_regression if paired else unpaired_regression)(first, second, better)


def _mark_failed(metrics: Sequence[MetricCheck], tolerance: float) -> tuple[MetricCheck, ...]:
    p_values = [metric.regression.p_value for metric in metrics if metric.regression.p_value is not None]
    if not p_values:
        return tuple(metrics)
    from scipy import stats  # slow to import, and the settings forms load this module

    adjusted = iter(stats.false_discovery_control(p_values).tolist())
    return tuple(
        replace(metric, failed=_fails(metric, tolerance, next(adjusted))) if metric.tested else metric
        for metric in metrics
    )


def _fails(metric: MetricCheck, tolerance: float, adjusted_p_value: float) -> bool:
    regression, mean = metric.regression, metric.baseline.mean
    assert regression.low is not None
    assert mean is not None
    return (
        regression.mean > tolerance * abs(mean)
        and regression.low > 0
        and adjusted_p_value <= FALSE_DISCOVERY_RATE
    )


def _p_value(metric: MetricCheck) -> float:
    return 1.0 if metric.regression.p_value is None else metric.regression.p_value
