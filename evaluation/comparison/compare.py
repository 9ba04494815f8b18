"""Two runs' evaluations side by side: the difference of every figure, paired by video."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from upath import UPath

from evaluation.comparison.paired_difference import PairedDifference, paired_difference
from evaluation.generation.reenactment import ReenactmentPlan
from evaluation.records import MODEL, MetricRecord, RecordKey, Summary, summarise
from evaluation.report.matrix import split_cells
from evaluation.report.numbers import ARROWS, NOTHING, difference_text, summary_text
from evaluation.report.sources import DIGEST_DIGITS, RunSources, read_sources

NOT_MEASURED: Final = "not measured"


@dataclass(frozen=True)
class ComparedFigure:
    """One figure of both runs.

    Attributes:
        key: of the first run's; the second's differs in nothing.
        first, second: means.
        difference: Second − first, by video; None where no video has both.
        better: Name of the run that is better and clearly so: the interval leaves out 0. Empty: neither.
    """

    key: RecordKey
    first: Summary
    second: Summary
    difference: PairedDifference | None
    better: str


@dataclass(frozen=True)
class Comparison:
    """What two runs' figures say about each other.

    Attributes:
        runs: Names, first and second.
        obstacles: Why the runs cannot be compared at all; empty where they can.
        figures: Of the model; empty where the runs cannot be compared.
        unmatched: Figures that one run alone has, in words: a scorer made of a run's own weights measures
            that run alone.
        notes: What to bear in mind.
    """

    runs: tuple[str, str]
    obstacles: tuple[str, ...]
    figures: tuple[ComparedFigure, ...]
    unmatched: tuple[str, ...]
    notes: tuple[str, ...]


def compare_runs(root: UPath, first: str, second: str) -> Comparison:
    """Compare the model's figures of two evaluated runs.

    Raises:
        ValueError: a run is not evaluated, or both names are one.
    """
    if first == second:
        raise ValueError(f"both runs are {first!r}; a comparison needs two")
    before, after = read_sources(root, first), read_sources(root, second)
    runs = (first, second)
    obstacles = find_obstacles(before.plan, after.plan)
    if obstacles:
        return Comparison(runs, obstacles, (), (), ())
    rows = tuple(
        [row for row in split_cells(sources.rows)[0] if row.method == MODEL] for sources in (before, after)
    )
    figures, unmatched = compare_figures(runs, rows[0], rows[1]), _unmatched(runs, rows[0], rows[1])
    return Comparison(runs, (), figures, unmatched, _notes(before, after))


def find_obstacles(one: ReenactmentPlan, other: ReenactmentPlan) -> tuple[str, ...]:
    """Why figures of two lists of videos are not of the same ones; empty where they are."""
    if one.dataset != other.dataset:
        digests = (one.dataset[:DIGEST_DIGITS], other.dataset[:DIGEST_DIGITS])
        return (f"different data sets: clips are drawn from {digests[0]} and from {digests[1]}",)
    obstacles: list[str] = []
    if one.split != other.split:
        obstacles.append(f"different splits: {one.split} and {other.split}")
    if one.reenactments != other.reenactments:
        common = {video.name for video in one.reenactments if video in other.reenactments}
        obstacles.append(
            f"different plans: {one.name} of {len(one.reenactments)} videos and {other.name} of "
            f"{len(other.reenactments)}, {len(common)} of them the same; give the second run the first one's "
            "reenactment_plan.json (protocol_file)"
        )
    return tuple(obstacles)


def compare_figures(
    runs: tuple[str, str], first: Sequence[MetricRecord], second: Sequence[MetricRecord]
) -> tuple[ComparedFigure, ...]:
    """Every figure that both have, in the first's order."""
    before = {summary.key: summary for summary in summarise(first)}
    after = {summary.key: summary for summary in summarise(second)}
    return tuple(
        _compared(runs, before[key], after[key], _of(first, key), _of(second, key))
        for key in before
        if key in after
    )


def as_json_text(comparison: Comparison) -> str:
    """The whole comparison as JSON."""
    return json.dumps({"comparable": not comparison.obstacles, **asdict(comparison)}, indent=1)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a table for every task and scorer, and what one run alone has."""
    kinds = dict.fromkeys((figure.key.task, figure.key.scorer) for figure in comparison.figures)
    for task, scorer in kinds:
        table = Table(title=Text(f"{task}, scorer {scorer}"), title_justify="left")
        table.add_column("metric", overflow="fold")
        for name in (*comparison.runs, "difference", "videos", "clearly better"):
            table.add_column(Text(name), justify="right")
        for figure in comparison.figures:
            if (figure.key.task, figure.key.scorer) == (task, scorer):
                table.add_row(*map(Text, _words(figure)))
        console.print(table)
    for line in (*comparison.unmatched, *comparison.notes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        "Means ± half of the 95 % interval; the difference is the second less the first, paired by video. "
        "Nothing is corrected for the number of comparisons.",
        highlight=False,
    )


def _compared(
    runs: tuple[str, str],
    first: Summary,
    second: Summary,
    first_rows: Sequence[MetricRecord],
    second_rows: Sequence[MetricRecord],
) -> ComparedFigure:
    if (first.unit, first.direction) != (second.unit, second.direction):
        raise ValueError(
            f"{first.key.metric}: unit and direction are {(first.unit, first.direction)} of {runs[0]} and "
            f"{(second.unit, second.direction)} of {runs[1]}: evaluate both with one version"
        )
    difference = paired_difference(first_rows, second_rows)
    better = ""
    if difference is not None and difference.clear and first.direction != "neither":
        better = runs[(difference.mean > 0) == (first.direction == "higher")]
    return ComparedFigure(first.key, first, second, difference, better)


def _notes(first: RunSources, second: RunSources) -> tuple[str, ...]:
    sides = (first.facts.side_px, second.facts.side_px)
    if sides[0] == sides[1]:
        return ()
    told = f"The videos are of {sides[0]} and {sides[1]} px, and quality is measured at each run's own size"
    return (f"{told}: differences of quality say little.",)


def _of(rows: Sequence[MetricRecord], key: RecordKey) -> list[MetricRecord]:
    return [row for row in rows if row.key == key]


def _unmatched(
    runs: tuple[str, str], first: Sequence[MetricRecord], second: Sequence[MetricRecord]
) -> tuple[str, ...]:
    """Scorers, and metrics of common scorers, that one run alone has."""
    keys = [dict.fromkeys(row.key for row in rows) for rows in (first, second)]
    lines: list[str] = []
    for run, mine, others in ((runs[0], keys[0], keys[1]), (runs[1], keys[1], keys[0])):
        known = {key.scorer for key in others}
        lines += [
            f"{run} alone is scored by {scorer}: not comparable, the scorers differ"
            for scorer in dict.fromkeys(key.scorer for key in mine if key.scorer not in known)
        ]
        lines += [
            f"{run} alone has {key.metric} ({key.task}, {key.scorer})"
            for key in mine
            if key.scorer in known and key not in others
        ]
    return tuple(lines)


def _words(figure: ComparedFigure) -> tuple[str, ...]:
    unit = f"({figure.first.unit})" if figure.first.unit else ""
    metric = " ".join(filter(None, (figure.key.metric, ARROWS[figure.first.direction], unit)))
    if figure.difference is None:
        return (metric, summary_text(figure.first), summary_text(figure.second), NOTHING, "0", NOT_MEASURED)
    return (
        metric,
        summary_text(figure.first),
        summary_text(figure.second),
        difference_text(figure.difference, ""),
        str(figure.difference.videos),
        figure.better,
    )
