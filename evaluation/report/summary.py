"""File names of the report, and its means as Parquet, Markdown and terminal tables."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text
from upath import UPath

from evaluation.records import MetricRecord, read_records
from evaluation.report.matrix import is_matrix_cell
from evaluation.report.numbers import NO_VALUE, metric_label
from evaluation.report.results import AHEAD, BEATS, Results, derive_results
from evaluation.report.tables import ReportCell, ReportRow, ReportTable, build_tables
from preprocessing.table_schema import column, table_schema
from storage.publishing import current
from storage.root import local_copy

EVALUATION_REPORT: Final = "evaluation_report"
REPORT_PAGE: Final = "report.html"
REPORT_TABLE: Final = "report.parquet"
SUMMARY_TABLE: Final = "summary.parquet"
SUMMARY_SCHEMA: Final = table_schema(
    column("metric", pa.string(), "name of the metric, including its protocol"),
    column("task", pa.string(), "reenactment task: self, cross or control"),
    column("method", pa.string(), "what produced the videos: the model, a baseline, or the ground truth"),
    column("scorer", pa.string(), "the network or library that measured"),
    column("mean", pa.float64(), "mean over videos; null if nothing was measured"),
    column("low", pa.float64(), "lower bound of the mean's 95 % interval"),
    column("high", pa.float64(), "upper bound of the mean's 95 % interval"),
    column("videos", pa.int64(), "number of videos with a value"),
    column("missing", pa.string(), "reasons for missing values, with counts; empty if there are none"),
    column("unit", pa.string(), "unit of the mean; empty if dimensionless"),
    column("direction", pa.string(), "which values are better: higher, lower or neither"),
    column("mark", pa.string(), "whether a baseline is ahead of the model; empty if not"),
)
ONE_PAIR: Final = "_one_pair"
SYMBOLS: Final = {BEATS: "▲", AHEAD: "△"}
LEGEND: Final = f"▲ {BEATS}   △ {AHEAD}   {NO_VALUE} not measured"


def write_summary(path: Path, results: Results) -> None:
    """Write the mean of every key as Parquet, in the order of the records."""
    rows = [
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
            "mark": results.comparisons[key].mark if key in results.comparisons else "",
        }
        for key, summary in results.summaries.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SUMMARY_SCHEMA), path)


def markdown_tables(records: Sequence[MetricRecord]) -> str:
    """Means as Markdown, one table for each task and scorer, without cells of the control matrix."""
    results = derive_results([record for record in records if not is_matrix_cell(record)])
    parts: list[str] = []
    for table in build_tables(results, table_per_scorer=True):
        header, rule = ["metric", *table.columns], ["---", *["---:"] * len(table.columns)]
        rows = [[_label(row), *map(_cell_text, row.cells)] for group in table.groups for row in group.rows]
        body = "\n".join(_markdown_row(row) for row in (header, rule, *rows))
        parts.append(f"**{_escape(table.task)}, scorer {_escape(table.groups[0].scorer)}**\n\n{body}")
    return "\n\n".join([*parts, LEGEND])


def print_tables(records: Sequence[MetricRecord], console: Console) -> None:
    """Print means, one table for each task and scorer.

    Left out: cells of the control matrix, and scores of single pairs beside the score over all pairs.
    """
    shown = [
        record for record in records if not is_matrix_cell(record) and not record.metric.endswith(ONE_PAIR)
    ]
    for table in build_tables(derive_results(shown), table_per_scorer=True):
        console.print(_rich_table(table))
    console.print(LEGEND, markup=False, highlight=False)


def print_report_table(root: UPath, run: str, console: Console) -> None:
    """Print the tables of a run's published report, and the path of its page.

    Raises:
        ValueError: the run has no report.
    """
    published = current(root, EVALUATION_REPORT, run)
    if published is None:
        raise ValueError(f"run {run!r} has no {EVALUATION_REPORT} under {root}: pdfgc evaluate --run {run}")
    folder = local_copy(published.directory)
    print_tables(read_records(folder / REPORT_TABLE), console)
    counts = published.manifest.counts
    console.print(
        f"Compared with the baselines, the model is ahead on {counts['model ahead']} metrics and behind on "
        f"{counts['baseline ahead']}.",
        highlight=False,
    )
    console.print(f"Report: {folder / REPORT_PAGE}", markup=False, highlight=False, soft_wrap=True)


def _rich_table(table: ReportTable) -> Table:
    (group,) = table.groups
    printed = Table(title=Text(f"{table.task}, scorer {group.scorer}"), title_justify="left")
    printed.add_column("metric", overflow="fold")
    for name in table.columns:
        printed.add_column(Text(name), justify="right")
    for row in group.rows:
        cells = [Text(_cell_text(cell), style="red" if cell.mark in SYMBOLS else "") for cell in row.cells]
        printed.add_row(Text(_label(row)), *cells)
    return printed


def _label(row: ReportRow) -> str:
    return metric_label(row.metric, row.direction, row.unit)


def _cell_text(cell: ReportCell) -> str:
    return f"{SYMBOLS.get(cell.mark, '')} {cell.text}".strip()


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
