"""Loss curves as a picture, held-out figures as a table. matplotlib is imported when drawing."""

import io
import math
from collections.abc import Sequence
from typing import Final

from dagster import MetadataValue

from pipelines.training.record import HeldOutFigure, LossRecord

COLUMNS: Final = 3
PANEL_INCHES: Final = (2.6, 1.7)
DOTS_PER_INCH: Final = 80
POINTS: Final = 400  # more would only make the picture larger


def draw_losses(records: Sequence[LossRecord]) -> bytes:
    """A PNG with one panel a loss, the weighted total first: their scales differ too much for one.

    Raises:
        ValueError: there are no records.
    """
    if not records:
        raise ValueError("no metrics yet, so there are no loss curves to draw")
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for record in records for name in record.losses))
    rows = math.ceil((len(names) + 1) / COLUMNS)
    size = (PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * rows)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    shown = records[:: math.ceil(len(records) / POINTS)]
    for place, name in enumerate(["weighted total", *names]):
        axes = figure.add_subplot(rows, COLUMNS, place + 1)
        values = [record.losses.get(name, math.nan) if place else record.total for record in shown]
        # A mark as well: a single report draws no line.
        axes.plot(
            [record.step for record in shown], values, linewidth=1, marker="." if len(shown) < 9 else ""
        )
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=6)
        axes.grid(alpha=0.3)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def figure_table(figures: Sequence[HeldOutFigure]) -> MetadataValue:
    """Held-out figures beside what guessing reaches."""
    lines = ["| figure | value | chance | better is | beats chance | rows |", "|---|---:|---:|---|---|---:|"]
    for figure in figures:
        chance = "" if figure.chance is None else f"{figure.chance:.4g}{figure.unit}"
        verdict = {True: "yes", False: "**no**" if figure.decides else "no", None: ""}[figure.beats_chance]
        direction = "higher" if figure.higher_is_better else "lower"
        cells = (
            figure.name,
            f"{figure.value:.4g}{figure.unit}",
            chance,
            direction,
            verdict,
            str(figure.rows),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return MetadataValue.md("\n".join(lines))
