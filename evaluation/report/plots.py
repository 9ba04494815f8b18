"""Small inline SVG: the means of one metric and their 95 % intervals on one scale, row by row.

Colours and shapes stand in the page's style sheet, so that they follow the reader's colour scheme.
"""

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, OFFICIAL_PUBLISHED, Summary
from evaluation.report.numbers import decimals, number, summary_text

WIDTH_PX: Final = 150
LINE_PX: Final = 9
MARGIN_PX: Final = 8
SCALE_PX: Final = 11  # the numbers at both ends, below
RADIUS_PX: Final = 3.2
CLASSES: Final = {
    MODEL: "model",
    GROUND_TRUTH: "truth",
    COPY_PORTRAIT: "portrait",
    COPY_TARGET: "target",
    OFFICIAL_PUBLISHED: "official",
}


def interval_plot(metric: str, summaries: Sequence[Summary]) -> str:
    """An SVG of one metric; empty where fewer than two rows have a mean.

    Args:
        metric: its name, for readers who hear the page.
        summaries: one a row of `evaluation.records`, all in one unit.
    """
    shown = [summary for summary in summaries if summary.mean is not None]
    if len(shown) < 2:
        return ""
    low = min(_ends(summary)[0] for summary in shown)
    high = max(_ends(summary)[1] for summary in shown)
    if high <= low:
        return ""
    scale = (WIDTH_PX - 2 * MARGIN_PX) / (high - low)
    height = len(shown) * LINE_PX + 4 + SCALE_PX
    told = "; ".join(f"{summary.key.method} {summary_text(summary, with_unit=True)}" for summary in shown)
    size = f'viewBox="0 0 {WIDTH_PX} {height}" width="{WIDTH_PX}" height="{height}"'
    parts = [f'<svg class="plot" role="img" {size} aria-label={quoteattr(f"{metric}: {told}")}>']
    for place, summary in enumerate(shown):
        middle = 2 + LINE_PX * (place + 0.5)
        left, right = (MARGIN_PX + (end - low) * scale for end in _ends(summary))
        assert summary.mean is not None
        centre = MARGIN_PX + (summary.mean - low) * scale
        kind = CLASSES.get(summary.key.method, "other")
        interval = f'<path d="M{left:.1f} {middle:.1f}H{right:.1f}"/>'
        parts.append(f'<g class="{kind}">{interval}{_shape(kind, centre, middle)}</g>')
    places = decimals(high - low, 2)
    foot = height - 2
    parts.append(
        f'<text x="{MARGIN_PX}" y="{foot}">{escape(number(low, places))}</text>'
        f'<text x="{WIDTH_PX - MARGIN_PX}" y="{foot}" class="end">{escape(number(high, places))}</text></svg>'
    )
    return "".join(parts)


def legend_mark(method: str) -> str:
    """The shape that stands for a method in the plots, as an SVG that is only to be seen."""
    kind = CLASSES.get(method, "other")
    return (
        f'<svg class="plot key" aria-hidden="true" viewBox="0 0 20 10" width="20" height="10">'
        f'<g class="{kind}"><path d="M1 5H19"/>{_shape(kind, 10.0, 5.0)}</g></svg>'
    )


def _shape(kind: str, x: float, y: float) -> str:
    """Rows differ by shape, not by colour alone."""
    r = RADIUS_PX
    if kind in ("model", "truth"):
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    if kind == "portrait":
        return f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r}" height="{2 * r}"/>'
    if kind == "target":
        d = r + 1  # a square on its corner looks smaller
        return f'<path d="M{x:.1f} {y - d:.1f}l{d} {d}l{-d} {d}l{-d} {-d}z"/>'
    return f'<path d="M{x:.1f} {y - r:.1f}l{r} {2 * r}h{-2 * r}z"/>'


def _ends(summary: Summary) -> tuple[float, float]:
    assert summary.mean is not None
    if summary.low is None or summary.high is None:
        return summary.mean, summary.mean
    return summary.low, summary.high
