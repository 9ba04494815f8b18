"""Whose figures these are: what all rows of one video share."""

from dataclasses import dataclass

from evaluation.records import Direction, MetricRecord


@dataclass(frozen=True)
class Figure:
    """A number, or the reason why there is none."""

    value: float | None
    missing_because: str = ""


@dataclass(frozen=True)
class MeasuredVideo:
    """The columns of `MetricRecord` that do not depend on the metric."""

    task: str
    method: str
    scorer: str
    video: str

    def figure(self, metric: str, figure: Figure, unit: str, direction: Direction) -> MetricRecord:
        """A row of this video."""
        return MetricRecord(
            metric,
            self.task,
            self.method,
            self.scorer,
            self.video,
            figure.value,
            unit,
            direction,
            figure.missing_because,
        )
