"""The report's tables of figures: a line a metric, a column for whose videos were measured.

Lines stand under their scorer's name; where scorers measure one and the same thing (lip sync) each has a
table of its own, so that figures of different scorers never share a column.
"""

from collections.abc import Sequence
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
    summarise,
)
from evaluation.report.contests import Contest, find_contests
from evaluation.report.numbers import NOTHING, summary_text

ALWAYS_SHOWN: Final = (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)
NO_TRUTH: Final = "there is no truth: nobody filmed this face moved by these drivers"
NOT_GIVEN: Final = "the evaluation writes no figure of this row"
BEATS: Final = "beats the model"
AHEAD: Final = "ahead, not clearly"
IS_TRUTH: Final = "is the truth"


@dataclass(frozen=True)
class ReportCell:
    """One figure of a table.

    Attributes:
        row: Whose videos.
        text: Mean ± half of the 95 % interval, or a dash.
        videos: How many have a figure.
        notes: Numbers of the table's notes that say what is missing and why.
        mark: What a reader must see: that a baseline is ahead; empty where nothing is.
    """

    method: str
    text: str
    videos: int
    notes: tuple[int, ...]
    mark: str


@dataclass(frozen=True)
class ReportLine:
    """One metric by one scorer. `summaries` are those of `cells`, where there are any."""

    metric: str
    unit: str
    direction: Direction
    cells: tuple[ReportCell, ...]
    summaries: tuple[Summary, ...]

    @property
    def lost(self) -> bool:
        """A baseline is ahead of the model."""
        return any(cell.mark in (BEATS, AHEAD) for cell in self.cells)


@dataclass(frozen=True)
class ScorerLines:
    """The lines of one scorer."""

    scorer: str
    lines: tuple[ReportLine, ...]


@dataclass(frozen=True)
class ReportTable:
    """One task's figures. `columns` are names of rows in the sense of `evaluation.records`."""

    task: str
    columns: tuple[str, ...]
    groups: tuple[ScorerLines, ...]
    notes: tuple[str, ...]


def build_tables(rows: Sequence[MetricRecord], *, scorers_apart: bool) -> list[ReportTable]:
    """Tables in the order in which tasks (and scorers) first appear.

    Args:
        rows: of one section of the report.
        scorers_apart: a table for each scorer, else one a task with its lines under their scorers.
    """
    summaries = {summary.key: summary for summary in summarise(rows)}
    marks = _marks(find_contests(rows))
    tables: list[ReportTable] = []
    for task in dict.fromkeys(row.task for row in rows):
        scorers = list(dict.fromkeys(row.scorer for row in rows if row.task == task))
        for together in [[scorer] for scorer in scorers] if scorers_apart else [scorers]:
            mine = [row for row in rows if row.task == task and row.scorer in together]
            tables.append(_table(mine, summaries, marks))
    return tables


def mark_of(contest: Contest) -> str:
    """What a reader must see of a baseline's cell; empty where the model is ahead or they are level."""
    if not contest.baseline_ahead:
        return ""
    if contest.against_the_truth:
        return IS_TRUTH
    return BEATS if contest.clear else AHEAD


def _marks(contests: Sequence[Contest]) -> dict[RecordKey, str]:
    return {contest.baseline.key: mark_of(contest) for contest in contests}


def _table(
    rows: Sequence[MetricRecord], summaries: dict[RecordKey, Summary], marks: dict[RecordKey, str]
) -> ReportTable:
    task = rows[0].task
    present = dict.fromkeys(row.method for row in rows)
    columns = [name for name in METHODS if name in ALWAYS_SHOWN or name in present]
    columns += [name for name in present if name not in METHODS]
    notes: dict[str, int] = {}
    groups: list[ScorerLines] = []
    for scorer in dict.fromkeys(row.scorer for row in rows):
        metrics = dict.fromkeys(row.metric for row in rows if row.scorer == scorer)
        keys = [[RecordKey(metric, task, name, scorer) for name in columns] for metric in metrics]
        lines = tuple(_line(line_keys, summaries, marks, notes) for line_keys in keys)
        groups.append(ScorerLines(scorer, lines))
    return ReportTable(task, tuple(columns), tuple(groups), tuple(notes))


def _line(
    keys: Sequence[RecordKey],
    summaries: dict[RecordKey, Summary],
    marks: dict[RecordKey, str],
    notes: dict[str, int],
) -> ReportLine:
    there = [summaries[key] for key in keys if key in summaries]
    cells = tuple(_cell(key, summaries.get(key), marks.get(key, ""), notes) for key in keys)
    return ReportLine(keys[0].metric, there[0].unit, there[0].direction, cells, tuple(there))


def _cell(key: RecordKey, summary: Summary | None, mark: str, notes: dict[str, int]) -> ReportCell:
    if summary is None:
        why = NO_TRUTH if key.method == GROUND_TRUTH and key.task in ("cross", "control") else NOT_GIVEN
        return ReportCell(key.method, NOTHING, 0, (_noted(why, notes),), "")
    reasons = tuple(
        _noted(f"not measured for {count} of {count + summary.videos}: {reason}", notes)
        if summary.videos
        else _noted(f"not measured: {reason}", notes)
        for reason, count in summary.missing.items()
    )
    return ReportCell(key.method, summary_text(summary), summary.videos, reasons, mark)


def _noted(text: str, notes: dict[str, int]) -> int:
    return notes.setdefault(text, len(notes) + 1)
