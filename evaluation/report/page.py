"""The report as one self-contained HTML page: it loads nothing, and all values are escaped by the template.

Only the interval plots, built here from numbers and escaped names, are inserted as markup.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, OFFICIAL_PUBLISHED, Summary
from evaluation.report.first_screen import FirstScreen
from evaluation.report.matrix import ReportMatrix
from evaluation.report.numbers import (
    ARROWS,
    MINUS,
    correlation_text,
    decimals,
    difference_text,
    number,
    summary_text,
)
from evaluation.report.results import AHEAD, BEATS, UPPER_BOUND, BaselineComparison
from evaluation.report.tables import ReportRow, ReportTable
from evaluation.report.videos import ReportVideo

TEMPLATE: Final = "report.html.j2"
DEMO_TEMPLATE: Final = "demo.html.j2"
STYLE: Final = "report.css"
TASK_TITLES: Final[Mapping[str, str]] = {
    "self": "Self-reenactment: a clip drives its own first frame",
    "cross": "Cross-reenactment: lips, pose, eyes and expression from clips of other people",
    "control": "Control: one driver changed, all others fixed",
}
"""Titles of the tasks; others are shown by their own name."""
PLOT_WIDTH_PX: Final = 150
PLOT_ROW_PX: Final = 9
PLOT_MARGIN_PX: Final = 8
PLOT_SCALE_PX: Final = 11  # for the numbers below both ends
MARKER_RADIUS_PX: Final = 3.2
PLOT_CLASSES: Final = {
    MODEL: "model",
    GROUND_TRUTH: "ground-truth",
    COPY_PORTRAIT: "portrait",
    COPY_TARGET: "target",
    OFFICIAL_PUBLISHED: "official",
}
"""Method -> class of its marker; the style sheet holds the colours, so that they follow the colour scheme."""


@dataclass(frozen=True)
class Fact:
    """A name and a value, for the header and the list of sources."""

    name: str
    value: str


@dataclass(frozen=True)
class UnmeasuredGroup:
    """Metrics of the model without any value for one reason."""

    reason: str
    metrics: Sequence[str]


@dataclass(frozen=True)
class Overview:
    """Comparisons of the model with the baselines, significant ones first.

    Attributes:
        model_ahead, tied, baseline_ahead: By who is better, without upper bounds and matrix cells.
        upper_bounds: Upper bounds that are ahead of the model.
        cells: All comparisons of matrix cells, without upper bounds.
        unmeasured: Metrics of the model without any value, by reason.
    """

    model_ahead: Sequence[BaselineComparison]
    tied: Sequence[BaselineComparison]
    baseline_ahead: Sequence[BaselineComparison]
    upper_bounds: Sequence[BaselineComparison]
    cells: Sequence[BaselineComparison]
    unmeasured: Sequence[UnmeasuredGroup]


@dataclass(frozen=True)
class ComparisonGroup:
    """Comparisons that differ in their metric only."""

    task: str
    baseline: str
    scorer: str
    comparisons: Sequence[BaselineComparison]


@dataclass(frozen=True)
class ReportSection:
    """Tables under one heading."""

    anchor: str
    title: str
    explanation: str
    tables: Sequence[ReportTable]


@dataclass(frozen=True)
class ReportPage:
    """Everything that the page shows; `closing` are the last lines of its sources."""

    title: str
    subtitle: str
    first: FirstScreen
    facts: Sequence[Fact]
    sources: Sequence[Fact]
    notes: Sequence[str]
    overview: Overview
    matrices: Sequence[ReportMatrix]
    cell_tables: Sequence[ReportTable]
    sections: Sequence[ReportSection]
    videos: Sequence[ReportVideo]
    videos_note: str
    closing: Sequence[str]


@dataclass(frozen=True)
class DemoPage:
    """The page of `pdfgc demo`: a video that plays on the first screen, then the table of runs and files."""

    title: str
    caption: str
    mp4: str  # data URI
    table: Sequence[str]  # lines
    files: Sequence[Fact]


def render_demo(page: DemoPage) -> str:
    """Render the demo's page as HTML."""
    environment = _environment()
    return environment.get_template(DEMO_TEMPLATE).render(page=page, style=_style(environment))


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("evaluation.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _style(environment: Environment) -> Markup:
    return Markup(environment.get_template(STYLE).render())  # noqa: S704  (the project's own file)


def render(page: ReportPage) -> str:
    """Render the page as HTML."""
    environment = _environment()
    environment.filters |= {
        "correlation": correlation_text,
        "arrow": ARROWS.__getitem__,
        "breakable": _breakable,
        "heat": _heat_percent,
        "sign_class": _sign_class,
    }
    return environment.get_template(TEMPLATE).render(
        page=page,
        style=_style(environment),
        task_title=task_title,
        difference=_comparison_text,
        grouped=group_comparisons,
        plot=_plot,
        legend_marker=_legend_marker,
        ahead_marks=(BEATS, AHEAD),
        upper_bound=UPPER_BOUND,
        first_methods=list(page.first.figures[0].texts),
    )


def task_title(task: str) -> str:
    """Title of a task."""
    return TASK_TITLES.get(task, task)


def group_comparisons(comparisons: Iterable[BaselineComparison]) -> list[ComparisonGroup]:
    """Group by task, baseline and scorer, in the order in which they first appear."""
    groups: dict[tuple[str, str, str], list[BaselineComparison]] = {}
    for comparison in comparisons:
        key = comparison.baseline.key
        groups.setdefault((key.task, key.method, key.scorer), []).append(comparison)
    return [ComparisonGroup(*names, group) for names, group in groups.items()]


def interval_plot(metric: str, summaries: Sequence[Summary]) -> str:
    """An SVG with the means of one metric and their intervals, one method a line; empty for fewer than two.

    Args:
        metric: name, for screen readers.
        summaries: one a method, all in one unit.
    """
    shown = [summary for summary in summaries if summary.mean is not None]
    if len(shown) < 2:
        return ""
    low = min(_bounds(summary)[0] for summary in shown)
    high = max(_bounds(summary)[1] for summary in shown)
    if high <= low:
        return ""
    scale = (PLOT_WIDTH_PX - 2 * PLOT_MARGIN_PX) / (high - low)
    height = len(shown) * PLOT_ROW_PX + 4 + PLOT_SCALE_PX
    values = "; ".join(f"{summary.key.method} {summary_text(summary, with_unit=True)}" for summary in shown)
    size = f'viewBox="0 0 {PLOT_WIDTH_PX} {height}" width="{PLOT_WIDTH_PX}" height="{height}"'
    parts = [f'<svg class="plot" role="img" {size} aria-label={quoteattr(f"{metric}: {values}")}>']
    for place, summary in enumerate(shown):
        y = 2 + PLOT_ROW_PX * (place + 0.5)
        left, right = (PLOT_MARGIN_PX + (end - low) * scale for end in _bounds(summary))
        assert summary.mean is not None
        x = PLOT_MARGIN_PX + (summary.mean - low) * scale
        kind = PLOT_CLASSES.get(summary.key.method, "other")
        interval = f'<path d="M{left:.1f} {y:.1f}H{right:.1f}"/>'
        parts.append(f'<g class="{kind}">{interval}{_marker(kind, x, y)}</g>')
    places = decimals(high - low, 2)
    baseline = height - 2
    parts.append(
        f'<text x="{PLOT_MARGIN_PX}" y="{baseline}">{escape(number(low, places))}</text>'
        f'<text x="{PLOT_WIDTH_PX - PLOT_MARGIN_PX}" y="{baseline}" class="end">'
        f"{escape(number(high, places))}</text></svg>"
    )
    return "".join(parts)


def _marker(kind: str, x: float, y: float) -> str:
    """Methods differ by shape, not by colour alone."""
    r = MARKER_RADIUS_PX
    if kind in ("model", "ground-truth"):
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    if kind == "portrait":
        return f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r}" height="{2 * r}"/>'
    if kind == "target":
        d = r + 1  # a rotated square looks smaller
        return f'<path d="M{x:.1f} {y - d:.1f}l{d} {d}l{-d} {d}l{-d} {-d}z"/>'
    return f'<path d="M{x:.1f} {y - r:.1f}l{r} {2 * r}h{-2 * r}z"/>'


def _bounds(summary: Summary) -> tuple[float, float]:
    assert summary.mean is not None
    if summary.low is None or summary.high is None:
        return summary.mean, summary.mean
    return summary.low, summary.high


def _plot(row: ReportRow) -> Markup:
    return Markup(interval_plot(row.metric, row.summaries))  # noqa: S704  (names in it are escaped)


def _legend_marker(method: str) -> Markup:
    """The marker of a method in the plots, hidden from screen readers."""
    kind = PLOT_CLASSES.get(method, "other")
    return Markup(  # noqa: S704  (shapes, no data)
        f'<svg class="plot legend" aria-hidden="true" viewBox="0 0 20 10" width="20" height="10">'
        f'<g class="{kind}"><path d="M1 5H19"/>{_marker(kind, 10.0, 5.0)}</g></svg>'
    )


def _comparison_text(comparison: BaselineComparison) -> str:
    """Model - baseline, paired by video if possible."""
    if comparison.difference is not None:
        difference = difference_text(comparison.difference, comparison.model.unit)
        return f"{difference} (n {comparison.difference.videos})"
    assert comparison.model.mean is not None
    assert comparison.baseline.mean is not None
    return number(comparison.model.mean - comparison.baseline.mean, 3, signed=True)


def _breakable(name: str) -> Markup:
    """A name that may wrap after each underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def _heat_percent(value: float | None) -> str:
    """Saturation of a cell's colour in percent."""
    return "0" if value is None else f"{min(1.0, abs(value)) * 100:.0f}"


def _sign_class(value: float | None) -> str:
    """Style class for the sign of a correlation."""
    if value is None:
        return "none"
    return "negative" if number(value, 2).startswith(MINUS) else "positive"
