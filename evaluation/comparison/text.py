"""Regression checks and the history of baseline runs as text, Markdown, JSON and terminal tables."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.comparison.baseline_runs import BaselineRun
from evaluation.comparison.regressions import MetricCheck, RegressionCheck, metric_name
from evaluation.generation.files import PLAN_NAME
from evaluation.report.numbers import interval_text, number, summary_text
from storage.fingerprint import DIGEST_DIGITS

MAX_LISTED: Final = 3
COLUMNS: Final = ("metric", "baseline run", "new run", "worse by", "videos", "result")


def check_text(check: RegressionCheck) -> str:
    """The result in one paragraph, with what could not be compared."""
    if check.baseline is None:
        return f"no baseline run is set: pdfgc baseline set {check.run} --note WHY"
    return "; ".join([_result_text(check), *_limitations(check)])


def regression_lines(check: RegressionCheck) -> tuple[str, ...]:
    """One line for each regression, most significant first."""
    return tuple(_regression_line(metric) for metric in check.regressions)


def markdown_table(check: RegressionCheck) -> str:
    """All metrics of both runs as a Markdown table, regressions first."""
    ordered = [*check.regressions, *(metric for metric in check.metrics if not metric.failed)]
    rows = [COLUMNS, ("---", "---:", "---:", "---:", "---:", "---"), *map(_cells, ordered)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def history_json(history: Sequence[BaselineRun]) -> str:
    """The history as JSON, oldest first."""
    return json.dumps([{**asdict(baseline), "folder": baseline.folder} for baseline in history], indent=1)


def print_history(history: Sequence[BaselineRun], console: Console) -> None:
    """Print the history as a table, oldest first."""
    table = Table(title="Baseline runs (the last one is current)", title_justify="left")
    for name in ("set at (UTC)", "run", "note", "regressions", "weights", "data set"):
        table.add_column(name, overflow="fold")
    for baseline in history:
        digests = (baseline.weights[:DIGEST_DIGITS], baseline.dataset[:DIGEST_DIGITS])
        cells = (_minute(baseline), baseline.run, baseline.note, _shortened(baseline.regressions, ", "))
        table.add_row(*map(Text, (*cells, *digests)))
    console.print(table)


def _result_text(check: RegressionCheck) -> str:
    baseline = check.baseline
    assert baseline is not None
    name = f"baseline run {baseline.run!r} of {_minute(baseline)} UTC"
    pairing = "means of different videos" if check.unpaired_because else "paired by video"
    if not check.tested:
        return f"cannot be compared with {name}: no metric of both runs has an interval"
    if not check.regressions:
        return f"no regression against {name}: {_metrics(check.tested)} compared, {pairing}"
    lines = _shortened(regression_lines(check), "; ")
    count = f"{len(check.regressions)} of {_metrics(check.tested)}"
    return f"regression against {name} in {count}, {pairing}: {lines}"


def _limitations(check: RegressionCheck) -> list[str]:
    assert check.baseline is not None
    notes: list[str] = []
    if check.unpaired_because:
        file = f"{check.baseline.folder}/{PLAN_NAME}"
        notes.append(
            f"not the same videos ({'; '.join(check.unpaired_because)}): to pair them, evaluate with "
            f"--plan-file {file} of the root"
        )
    if untested := len(check.metrics) - check.tested:
        notes.append(f"not tested, no interval: {_metrics(untested)}")
    if check.missing:
        notes.append(
            f"missing, {_metrics(len(check.missing))} of the baseline run: {_shortened(check.missing, ', ')}"
        )
    return notes


def _metrics(count: int) -> str:
    return f"{count} metric{'' if count == 1 else 's'}"


def _shortened(items: Sequence[str], separator: str) -> str:
    more = f"{separator}and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return separator.join(items[:MAX_LISTED]) + more


def _regression_line(metric: MetricCheck) -> str:
    unit = f" {metric.new.unit}" if metric.new.unit else ""
    means = f"{summary_text(metric.baseline)} to {summary_text(metric.new)}{unit}"
    change = f"worse by {_amount(metric)} over {metric.regression.videos} videos"
    return f"{metric_name(metric.key)} {means}, {change}"


def _amount(metric: MetricCheck) -> str:
    """The regression with its interval, and in percent of the baseline run's mean."""
    regression, mean = metric.regression, metric.baseline.mean
    percent = f" ({number(100 * regression.mean / abs(mean), 0)} %)" if mean else ""
    return interval_text(regression.mean, regression.low, regression.high, "") + percent


def _cells(metric: MetricCheck) -> tuple[str, ...]:
    unit = f", {metric.new.unit}" if metric.new.unit else ""
    result = "**regression**" if metric.failed else ("" if metric.tested else "not tested")
    return (
        metric_name(metric.key) + unit,
        summary_text(metric.baseline),
        summary_text(metric.new),
        _amount(metric),
        str(metric.regression.videos),
        result,
    )


def _minute(baseline: BaselineRun) -> str:
    return baseline.set_at[:16].replace("T", " ")
