"""Two runs side by side: the difference of every metric, paired by video."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from upath import UPath

from evaluation.comparison.differences import PairedDifference, paired_difference
from evaluation.generation.reenactment import ReenactmentPlan
from evaluation.records import MODEL, MetricRecord, RecordKey, Summary, summarise
from evaluation.report.matrix import is_matrix_cell
from evaluation.report.numbers import NO_VALUE, difference_text, metric_label, summary_text
from evaluation.report.sources import RunSources, read_sources
from storage.fingerprint import DIGEST_DIGITS

NOT_MEASURED: Final = "not measured"


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of both runs.

    Attributes:
        key: The same in both runs.
        first, second: Means.
        difference: Second - first, by video; None if no video has both values.
        better: Name of the run that is significantly better; empty if neither is.
    """

    key: RecordKey
    first: Summary
    second: Summary
    difference: PairedDifference | None
    better: str


@dataclass(frozen=True)
class RunComparison:
    """Comparison of two runs.

    Attributes:
        runs: Names, first and second.
        obstacles: Why the runs cannot be compared; empty if they can.
        metrics: Metrics of the model in both runs; empty if the runs cannot be compared.
        unmatched: Metrics of one run only, as text: a scorer trained with a run measures that run only.
        notes: Caveats.
    """

    runs: tuple[str, str]
    obstacles: tuple[str, ...]
    metrics: tuple[ComparedMetric, ...]
    unmatched: tuple[str, ...]
    notes: tuple[str, ...]


def compare_runs(root: UPath, first: str, second: str) -> RunComparison:
    """Compare the model's metrics in two evaluated runs.

    Raises:
        ValueError: a run is not evaluated, or both names are equal.
    """
    if first == second:
        raise ValueError(f"both runs are {first!r}; name two different runs")
    before, after = read_sources(root, first), read_sources(root, second)
    runs = (first, second)
    obstacles = find_obstacles(before.plan, after.plan)
    if obstacles:
        return RunComparison(runs, obstacles, (), (), ())
    records = tuple(
        [record for record in sources.records if record.method == MODEL and not is_matrix_cell(record)]
        for sources in (before, after)
    )
    metrics, unmatched = compare_records(runs, *records), _unmatched(runs, *records)
    return RunComparison(runs, (), metrics, unmatched, _notes(before, after))


def find_obstacles(first: ReenactmentPlan, second: ReenactmentPlan) -> tuple[str, ...]:
    """Differences between two plans that keep their metrics from being paired by video; empty if none."""
    if first.dataset != second.dataset:
        digests = (first.dataset[:DIGEST_DIGITS], second.dataset[:DIGEST_DIGITS])
        return (f"different data sets: {digests[0]} and {digests[1]}",)
    obstacles: list[str] = []
    if first.split != second.split:
        obstacles.append(f"different splits: {first.split} and {second.split}")
    if first.reenactments != second.reenactments:
        common = {video.name for video in first.reenactments if video in second.reenactments}
        obstacles.append(
            f"different plans: {first.name} of {len(first.reenactments)} videos and {second.name} of "
            f"{len(second.reenactments)}, {len(common)} of them the same; evaluate the second run with the "
            "first one's reenactment_plan.json (plan_file)"
        )
    return tuple(obstacles)


def compare_records(
    runs: tuple[str, str], first: Sequence[MetricRecord], second: Sequence[MetricRecord]
) -> tuple[ComparedMetric, ...]:
    """Metrics of both runs, in the order of the first."""
    before = {summary.key: summary for summary in summarise(first)}
    after = {summary.key: summary for summary in summarise(second)}
    return tuple(
        _compared(runs, before[key], after[key], _with_key(first, key), _with_key(second, key))
        for key in before
        if key in after
    )


def as_json_text(comparison: RunComparison) -> str:
    """The comparison as JSON."""
    return json.dumps({"comparable": not comparison.obstacles, **asdict(comparison)}, indent=1)


def print_comparison(comparison: RunComparison, console: Console) -> None:
    """Print a table for every task and scorer, then unmatched metrics and notes."""
    kinds = dict.fromkeys((metric.key.task, metric.key.scorer) for metric in comparison.metrics)
    for task, scorer in kinds:
        table = Table(title=Text(f"{task}, scorer {scorer}"), title_justify="left")
        table.add_column("metric", overflow="fold")
        for name in (*comparison.runs, "difference", "videos", "significantly better"):
            table.add_column(Text(name), justify="right")
        for metric in comparison.metrics:
            if (metric.key.task, metric.key.scorer) == (task, scorer):
                table.add_row(*map(Text, _cells(metric)))
        console.print(table)
    for line in (*comparison.unmatched, *comparison.notes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        "Mean ± half-width of the 95 % interval; difference: second - first, paired by video. Not corrected "
        "for multiple comparisons.",
        highlight=False,
    )


def _compared(
    runs: tuple[str, str],
    first: Summary,
    second: Summary,
    first_records: Sequence[MetricRecord],
    second_records: Sequence[MetricRecord],
) -> ComparedMetric:
    if (first.unit, first.direction) != (second.unit, second.direction):
        raise ValueError(
            f"{first.key.metric}: unit and direction are {(first.unit, first.direction)} in {runs[0]} and "
            f"{(second.unit, second.direction)} in {runs[1]}: evaluate both with the same version"
        )
    difference = paired_difference(first_records, second_records)
    better = ""
    if difference is not None and difference.significant and first.direction != "neither":
        better = runs[(difference.mean > 0) == (first.direction == "higher")]
    return ComparedMetric(first.key, first, second, difference, better)


def _notes(first: RunSources, second: RunSources) -> tuple[str, ...]:
    sides = (first.facts.side_px, second.facts.side_px)
    if sides[0] == sides[1]:
        return ()
    sizes = f"The videos have {sides[0]} and {sides[1]} px, and quality is measured at each run's own size"
    return (f"{sizes}: differences in quality are not meaningful.",)


def _with_key(records: Sequence[MetricRecord], key: RecordKey) -> list[MetricRecord]:
    return [record for record in records if record.key == key]


def _unmatched(
    runs: tuple[str, str], first: Sequence[MetricRecord], second: Sequence[MetricRecord]
) -> tuple[str, ...]:
    """Scorers, and metrics of common scorers, of one run only."""
    keys = [dict.fromkeys(record.key for record in records) for records in (first, second)]
    lines: list[str] = []
    for run, mine, others in ((runs[0], keys[0], keys[1]), (runs[1], keys[1], keys[0])):
        known = {key.scorer for key in others}
        lines += [
            f"only {run} is scored by {scorer}: not comparable"
            for scorer in dict.fromkeys(key.scorer for key in mine if key.scorer not in known)
        ]
        lines += [
            f"only {run} has {key.metric} ({key.task}, {key.scorer})"
            for key in mine
            if key.scorer in known and key not in others
        ]
    return tuple(lines)


def _cells(metric: ComparedMetric) -> tuple[str, ...]:
    means = (summary_text(metric.first), summary_text(metric.second))
    name = metric_label(metric.key.metric, metric.first.direction, metric.first.unit)
    if metric.difference is None:
        return (name, *means, NO_VALUE, "0", NOT_MEASURED)
    difference = metric.difference
    return (name, *means, difference_text(difference, ""), str(difference.videos), metric.better)
