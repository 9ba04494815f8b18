"""The report's tables: one row a metric, one column a method, one table a task.

Rows are grouped by scorer. Where scorers measure the same thing (lip sync), each has a table of its own, so
that values of different scorers never share a column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evaluation.records import (
    COPY_PORTRAIT,
    COPY_TARGET,
    GROUND_TRUTH,
    METHODS,
    MODEL,
    Direction,
    MetricRecord,
    RecordKey,
    Summary,
)
from evaluation.report.numbers import NO_VALUE, summary_text
from evaluation.report.results import AHEAD, BEATS, Mark, Results

ALWAYS_SHOWN: Final = (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)
NO_GROUND_TRUTH: Final = "no ground truth exists: this face was never filmed with these drivers"
NOT_EVALUATED: Final = "this method is not evaluated on this metric"


@dataclass(frozen=True)
class ReportCell:
    """One value of a table.

    Attributes:
        method: Column of the table.
        text: Mean ± half-width of the 95 % interval, or a dash.
        videos: Number of videos with a value.
        notes: Numbers of the table's notes that say why values are missing.
        mark: Whether this baseline is ahead of the model.
    """

    method: str
    text: str
    videos: int
    notes: tuple[int, ...]
    mark: Mark


@dataclass(frozen=True)
class ReportRow:
    """One metric by one scorer. `summaries` are those of `cells` that exist."""

    metric: str
    unit: str
    direction: Direction
    cells: tuple[ReportCell, ...]
    summaries: tuple[Summary, ...]

    @property
    def baseline_ahead(self) -> bool:
        """Whether a baseline is ahead of the model."""
        return any(cell.mark in (BEATS, AHEAD) for cell in self.cells)


@dataclass(frozen=True)
class ScorerRows:
    """The rows of one scorer."""

    scorer: str
    rows: tuple[ReportRow, ...]


@dataclass(frozen=True)
class ReportTable:
    """The metrics of one task; `columns` are methods."""

    task: str
    columns: tuple[str, ...]
    groups: tuple[ScorerRows, ...]
    notes: tuple[str, ...]


def build_tables(results: Results, *, table_per_scorer: bool) -> list[ReportTable]:
    """Build the tables in the order in which tasks (and scorers) first appear.

    Args:
        results: of one section of the report.
        table_per_scorer: a table for each task and scorer; else one for each task, with its rows grouped by
            scorer.
    """
    tables: list[ReportTable] = []
    for task in dict.fromkeys(record.task for record in results.records):
        scorers = list(dict.fromkeys(record.scorer for record in results.records if record.task == task))
        for group in [[scorer] for scorer in scorers] if table_per_scorer else [scorers]:
            records = [record for record in results.records if record.task == task and record.scorer in group]
            tables.append(_table(records, results))
    return tables


def _table(records: Sequence[MetricRecord], results: Results) -> ReportTable:
    task = records[0].task
    present = dict.fromkeys(record.method for record in records)
    columns = [method for method in METHODS if method in ALWAYS_SHOWN or method in present]
    columns += [method for method in present if method not in METHODS]
    notes: dict[str, int] = {}
    groups: list[ScorerRows] = []
    for scorer in dict.fromkeys(record.scorer for record in records):
        metrics = dict.fromkeys(record.metric for record in records if record.scorer == scorer)
        keys = [[RecordKey(metric, task, method, scorer) for method in columns] for metric in metrics]
        groups.append(ScorerRows(scorer, tuple(_row(row_keys, results, notes) for row_keys in keys)))
    return ReportTable(task, tuple(columns), tuple(groups), tuple(notes))


def _row(keys: Sequence[RecordKey], results: Results, notes: dict[str, int]) -> ReportRow:
    summaries = tuple(results.summaries[key] for key in keys if key in results.summaries)
    cells = tuple(_cell(key, results, notes) for key in keys)
    return ReportRow(keys[0].metric, summaries[0].unit, summaries[0].direction, cells, summaries)


def _cell(key: RecordKey, results: Results, notes: dict[str, int]) -> ReportCell:
    summary = results.summaries.get(key)
    if summary is None:
        no_truth = key.method == GROUND_TRUTH and key.task in ("cross", "control")
        reason = NO_GROUND_TRUTH if no_truth else NOT_EVALUATED
        return ReportCell(key.method, NO_VALUE, 0, (_note_number(reason, notes),), "")
    reasons = tuple(_note_number(text, notes) for text in _missing_texts(summary.missing, summary.videos))
    comparison = results.comparisons.get(key)
    mark: Mark = "" if comparison is None else comparison.mark
    return ReportCell(key.method, summary_text(summary), summary.videos, reasons, mark)


def _missing_texts(missing: Mapping[str, int], videos: int) -> list[str]:
    return [
        f"missing for {count} of {count + videos}: {reason}" if videos else f"not measured: {reason}"
        for reason, count in missing.items()
    ]


def _note_number(text: str, notes: dict[str, int]) -> int:
    return notes.setdefault(text, len(notes) + 1)
