"""The names under which the report is published, and its means as Parquet, Markdown and on the terminal."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text
from upath import UPath

from evaluation.records import MetricRecord, read_records, summarise
from evaluation.report.contests import find_contests
from evaluation.report.matrix import split_cells
from evaluation.report.numbers import NOTHING, metric_label
from evaluation.report.tables import AHEAD, BEATS, ReportCell, ReportLine, ReportTable, build_tables, mark_of
from preprocessing.table_schema import column, table_schema
from storage.publishing import current
from storage.root import local_copy

EVALUATION_REPORT: Final = "evaluation_report"
REPORT_PAGE: Final = "report.html"
REPORT_TABLE: Final = "report.parquet"
SUMMARY_TABLE: Final = "summary.parquet"
SUMMARY_SCHEMA: Final = table_schema(
    column("metric", pa.string(), "what was measured"),
    column("task", pa.string(), "which videos"),
    column("method", pa.string(), "whose videos"),
    column("scorer", pa.string(), "what measured"),
    column("mean", pa.float64(), "mean over videos; null where nothing was measured"),
    column("low", pa.float64(), "lower end of the mean's 95 % interval"),
    column("high", pa.float64(), "upper end of the mean's 95 % interval"),
    column("videos", pa.int64(), "how many videos have a figure"),
    column("missing", pa.string(), "why others have none, with counts; empty where all have one"),
    column("unit", pa.string(), "unit of the figure; empty: none"),
    column("direction", pa.string(), "higher, lower or neither"),
    column("mark", pa.string(), "a baseline's lead over the model; empty where there is none"),
)
ONE_PAIR: Final = "_one_pair"
SHORT_MARKS: Final = {BEATS: "▲", AHEAD: "△"}
MARKS_TOLD: Final = f"▲ {BEATS}   △ {AHEAD}   {NOTHING} not measured"


def write_summary(path: Path, rows: Sequence[MetricRecord]) -> None:
    """Write the means of all keys as Parquet, in the rows' order."""
    marks = {contest.baseline.key: mark_of(contest) for contest in find_contests(rows)}
    records = [
        {
            "metric": summary.key.metric,
            "task": summary.key.task,
            "method": summary.key.method,
            "scorer": summary.key.scorer,
            "mean": summary.mean,
            "low": summary.low,
            "high": summary.high,
            "videos": summary.videos,
            "missing": "; ".join(f"{reason} ({count})" for reason, count in summary.missing.items()),
            "unit": summary.unit,
            "direction": summary.direction,
            "mark": marks.get(summary.key, ""),
        }
        for summary in summarise(rows)
    ]
    pq.write_table(pa.Table.from_pylist(records, schema=SUMMARY_SCHEMA), path)


def markdown_tables(rows: Sequence[MetricRecord]) -> str:
    """Every task's and scorer's means as Markdown tables; cells of the control matrix left out."""
    parts: list[str] = []
    for table in build_tables(split_cells(rows)[0], scorers_apart=True):
        head, rule = ["metric", *table.columns], ["---", *["---:"] * len(table.columns)]
        lines = [[_metric(line), *map(_plain, line.cells)] for group in table.groups for line in group.lines]
        body = "\n".join(_markdown_line(line) for line in (head, rule, *lines))
        parts.append(f"**{_escaped(table.task)}, scorer {_escaped(table.groups[0].scorer)}**\n\n{body}")
    return "\n\n".join([*parts, MARKS_TOLD])


def print_tables(rows: Sequence[MetricRecord], console: Console) -> None:
    """Print every task's and scorer's means.

    Cells of the control matrix are left out, and single pairs' scores beside the score of all.
    """
    shown = [row for row in split_cells(rows)[0] if not row.metric.endswith(ONE_PAIR)]
    for table in build_tables(shown, scorers_apart=True):
        console.print(_rich_table(table))
    console.print(MARKS_TOLD, markup=False, highlight=False)


def _rich_table(table: ReportTable) -> Table:
    (group,) = table.groups
    shown = Table(title=Text(f"{table.task}, scorer {group.scorer}"), title_justify="left")
    shown.add_column("metric", overflow="fold")
    for name in table.columns:
        shown.add_column(Text(name), justify="right")
    for line in group.lines:
        cells = [Text(_plain(cell), style="red" if cell.mark in SHORT_MARKS else "") for cell in line.cells]
        shown.add_row(Text(_metric(line)), *cells)
    return shown


def _metric(line: ReportLine) -> str:
    return metric_label(line.metric, line.direction, line.unit)


def _plain(cell: ReportCell) -> str:
    return f"{SHORT_MARKS.get(cell.mark, '')} {cell.text}".strip()


def _markdown_line(words: Iterable[str]) -> str:
    return "| " + " | ".join(_escaped(word) for word in words) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def print_report_table(root: UPath, run: str, console: Console) -> None:
    """Print a run's published report as tables, and where its page lies.

    Raises:
        ValueError: the run has no report.
    """
    published = current(root, EVALUATION_REPORT, run)
    if published is None:
        raise ValueError(f"run {run!r} has no {EVALUATION_REPORT} under {root}: pdfgc evaluate --run {run}")
    folder = local_copy(published.directory)
    print_tables(read_records(folder / REPORT_TABLE), console)
    counts = published.manifest.counts
    told = f"the model is ahead in {counts['model ahead']} comparisons with a baseline, behind in"
    console.print(f"{told} {counts['baseline ahead']}", highlight=False)
    console.print(f"Report: {folder / REPORT_PAGE}", markup=False, highlight=False, soft_wrap=True)
