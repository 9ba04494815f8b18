"""Whose figures these are: what all rows of one video share."""

from dataclasses import dataclass

from evaluation.figures import Direction, FigureRow


@dataclass(frozen=True)
class Figure:
    """A number, or the reason why there is none."""

    value: float | None
    missing_because: str = ""


@dataclass(frozen=True)
class MeasuredVideo:
    """The columns of `FigureRow` that do not depend on the metric."""

    protocol: str
    row: str
    scorer: str
    video: str

    def figure(self, metric: str, figure: Figure, unit: str, better: Direction) -> FigureRow:
        """A row of this video."""
        return FigureRow(
            metric,
            self.protocol,
            self.row,
            self.scorer,
            self.video,
            figure.value,
            unit,
            better,
            figure.missing_because,
        )
