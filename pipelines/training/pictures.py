"""Loss curves as a picture, held-out metrics as a table. matplotlib is imported when drawing."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dagster import MetadataValue

from training.engine.progress import HeldOutMetric, LossRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS: Final = 2
PANEL_INCHES: Final = (2.95, 2.2)
DOTS_PER_INCH: Final = 80  # as wide as a value in a table of the UI
POINTS: Final = 400  # limits the size of the picture


def draw_losses(records: Sequence[LossRecord]) -> bytes:
    """Draw a PNG with one panel per loss, because their scales differ; the weighted total has the first row.

    Raises:
        ValueError: there are no records.
    """
    data = io.BytesIO()
    loss_figure(records).savefig(data, format="png")
    return data.getvalue()


def loss_figure(records: Sequence[LossRecord]) -> "Figure":
    """The figure that `draw_losses` writes."""
    if not records:
        raise ValueError("no loss records to draw")
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for record in records for name in record.losses))
    rows = 1 + math.ceil(len(names) / COLUMNS)
    size = (PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * rows)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    grid = figure.add_gridspec(rows, COLUMNS)  # one for all: the layout keeps panels of several apart only so
    shown = records[:: math.ceil(len(records) / POINTS)]
    for place, name in enumerate(["weighted total", *names]):
        row, column = divmod(place + COLUMNS - 1, COLUMNS)
        axes = figure.add_subplot(grid[row, column] if place else grid[0, :])
        values = [record.losses.get(name, math.nan) if place else record.total for record in shown]
        # With markers, because a single record draws no line.
        axes.plot(
            [record.step for record in shown], values, linewidth=1, marker="." if len(shown) < 9 else ""
        )
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step", fontsize=7)
        axes.set_ylabel("mean since last report", fontsize=7)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    return figure


def metric_table(metrics: Sequence[HeldOutMetric]) -> MetadataValue:
    """Held-out metrics with the value that guessing reaches."""
    lines = ["| metric | value | chance | better is | beats chance | rows |", "|---|---:|---:|---|---|---:|"]
    for metric in metrics:
        chance = "" if metric.chance is None else f"{metric.chance:.4g}{metric.unit}"
        beats = {True: "yes", False: "**no**" if metric.decides else "no", None: ""}[metric.beats_chance]
        direction = "higher" if metric.higher_is_better else "lower"
        cells = (
            metric.name,
            f"{metric.value:.4g}{metric.unit}",
            chance,
            direction,
            beats,
            str(metric.rows),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return MetadataValue.md("\n".join(lines))
